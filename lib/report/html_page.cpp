// The style and the script of the HTML page.
#include "report/html_parts.h"

namespace flashconvert::report {

const char* const kPageStyle = R"css(
:root { color-scheme: light dark; --page: #f6f7f9; --sheet: #fff; --ink: #1c2430; --faint: #667085; --line: #e3e7ee;
  --good: #12733f; --good-soft: #e2f4ea; --warn: #8a5a00; --warn-soft: #fdf1d8; --bad: #b3261e; --bad-soft: #fce4e2;
  --accent: #2f6fed; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --sheet: #1a1f28; --ink: #e5e9f0; --faint: #98a2b3;
  --line: #2c3442; --good: #63d297; --good-soft: #173526; --warn: #f2bd58; --warn-soft: #3a2d12; --bad: #ff8a80;
  --bad-soft: #431f1c; --accent: #7aa5ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 28px 20px 60px; }
.top { display: flex; justify-content: space-between; align-items: baseline; flex-wrap: wrap; color: var(--faint); }
h1 { font-size: 20px; margin: 0; color: var(--ink); }
h2 { font-size: 18px; margin: 12px 0 8px; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 30px 0 8px; }
h4 { font-size: 14px; margin: 18px 0 6px; color: var(--faint); }
article { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px 26px;
  margin-top: 20px; }
header h2 { margin: 0; }
header { display: flex; gap: 14px; align-items: center; justify-content: space-between; }
p { overflow-wrap: anywhere; }
.badge { white-space: nowrap; padding: 3px 12px; border-radius: 99px; font-weight: 600; font-size: 13px;
  border: 1px solid var(--line); }
.badge.good, .message.good { background: var(--good-soft); color: var(--good); border-color: transparent; }
.badge.warn, .message.warn { background: var(--warn-soft); color: var(--warn); border-color: transparent; }
.badge.bad, .message.bad { background: var(--bad-soft); color: var(--bad); border-color: transparent; }
.message { padding: 9px 14px; border-radius: 8px; margin: 12px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin-top: 18px; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; display: flex; flex-direction: column; }
.card span, .card small { color: var(--faint); font-size: 13px; }
.card b { font-size: 22px; font-weight: 650; line-height: 1.35; }
.card.good b, td.good { color: var(--good); }
.card.warn b, td.warn { color: var(--warn); }
.card.bad b, td.bad { color: var(--bad); font-weight: 600; }
.bar { height: 5px; border-radius: 5px; background: var(--line); overflow: hidden; margin: 5px 0 6px; }
.bar i { display: block; height: 100%; background: var(--good); }
.warn .bar i { background: var(--warn); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; font-weight: 600; color: var(--faint); vertical-align: bottom; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--page); }
tr.failed { background: var(--bad-soft); }
tr.same td { color: var(--faint); }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
td.path, td.name { white-space: nowrap; }
td.what { min-width: 14em; }
td.reason { min-width: 16em; }
td.keys { min-width: 24em; }
.inputs { margin: 0 0 8px; overflow-wrap: anywhere; }
td.path, td.keys, .inputs, .plot .path, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 12.5px; }
pre { overflow-wrap: anywhere; }
.plot { margin: 12px 0; padding: 12px 14px; border: 1px solid var(--line); border-radius: 10px; font-size: 13px; }
.plot figcaption { color: var(--faint); margin-bottom: 6px; }
.plot figcaption .dot { position: static; display: inline-block; transform: none; vertical-align: middle;
  margin: 0 3px 0 10px; }
.plotrow { display: grid; grid-template-columns: minmax(8em, 26em) minmax(14em, 1fr); gap: 14px; align-items: center; }
.plotrow > span { overflow-wrap: anywhere; }
.plotrow.failed > span { color: var(--bad); font-weight: 600; }
.strip { position: relative; height: 20px; margin: 0 14px 0 8px; }
.plotrow:not(.axis) > .strip { border-bottom: 1px solid var(--line); }
.axis > span { color: var(--faint); text-align: right; }
.axis b { position: absolute; transform: translateX(-50%); white-space: nowrap; font-weight: 400; font-size: 12px; color: var(--faint); }
.dot { position: absolute; top: 50%; width: 10px; height: 10px; border-radius: 50%; transform: translate(-50%, -50%); }
.dot.original { border: 2px solid var(--faint); }
.dot.converted { background: var(--accent); }
.failed .dot.converted { background: var(--bad); }
.dot.allowed { width: 2px; height: 14px; border-radius: 0; background: var(--warn); }
.time { position: absolute; top: 4px; height: 12px; border-radius: 3px; left: 0; }
.time.original { background: var(--faint); }
.time.converted { background: var(--accent); }
.times .strip { display: flex; align-items: center; }
.time + em { margin-left: auto; font-style: normal; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { .plotrow { grid-template-columns: minmax(0, 1fr); gap: 0; margin-bottom: 4px; }
  article { padding: 16px 14px; } main { padding: 16px 10px 40px; } }
.filter { font: inherit; font-size: 13.5px; padding: 5px 11px; margin: 0 0 8px; width: min(320px, 100%);
  border: 1px solid var(--line); border-radius: 8px; background: var(--page); color: inherit; }
.filter:focus { outline: 2px solid var(--accent); outline-offset: -1px; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; margin: 0;
  white-space: pre-wrap; }
pre em { color: var(--faint); font-style: normal; }
summary { cursor: pointer; color: var(--accent); margin-bottom: 8px; }
@media print { body { background: #fff; } .filter { display: none; } article { border: 0; padding: 0; } }
)css";

const char* const kPageScript = R"js(
// Each filter box hides the rows of the table after it that do not hold all of its words.
for (const box of document.querySelectorAll('.filter')) {
  const rows = box.nextElementSibling.querySelectorAll('tbody tr');
  box.addEventListener('input', () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
)js";

}  // namespace flashconvert::report
