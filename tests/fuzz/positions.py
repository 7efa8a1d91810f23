"""Masks of positions: random expressions over the places of queries (i) and keys (j).

Any of them may be a causal mask, a window or chunks, for some lengths or for all: what tells them apart is shown at
lengths beyond every constant.
"""

CONSTANTS = (2, 1, 3, 4, 5, 7, 10, 16, 20, 32, 50)


def write_places(source, place: str, queries: str, keys: str) -> tuple[str, str]:
    """Writes i [L, 1] and j [1, S] and returns their names."""
    dtype = source.choose(
        f"{place}.dtype", "", "torch.float32", "torch.int32", "torch.bfloat16", "torch.int8", "torch.uint8", simple=0.85
    )
    told = f", dtype={dtype}" if dtype else ""
    offset = source.choose(f"{place}.offset", "", f" + ({keys} - {queries})", " + 1", f" + {keys}", simple=0.75)
    i, j = source.fresh("i"), source.fresh("j")
    how = source.choose(f"{place}.places", "arange", "cumsum", "stored", simple=0.8)
    if how == "cumsum":
        counted = f"torch.cumsum(torch.ones({{}}{told}), 0) - 1"
    elif how == "stored":
        counted = source.buffer("places", f"torch.arange(512{told})") + "[:{}]"
    else:
        counted = f"torch.arange({{}}{told})"
    column = source.choose(f"{place}.column", ".unsqueeze(1)", "[:, None]", ".view(-1, 1)", simple=0.6)
    source.let(i, f"({counted.format(queries)}){column}{offset}")
    source.let(j, f"({counted.format(keys)}).unsqueeze(0)")
    return i, j


def _constant(source, place: str):
    """A number that positions are held against, or an expression for one."""
    c = source.choose(place, *CONSTANTS)
    kinds = ("as it is", "kept", "sizes", "heads", "lengths", "table", "product")
    kind = source.choose(f"{place}.told", *kinds, simple=0.75)
    if kind == "as it is":
        return c
    if kind == "kept":
        return source.number(place, c)
    if kind in ("sizes", "heads"):
        return f"({next(iter(source.types))}.size({-1 if kind == 'sizes' else 1}) * {c})"
    if kind == "lengths":
        return f"(lk // 2 + {c})"
    if kind == "table":
        held = source.buffer("table", f"torch.tensor([{c}, {c + 1}, {2 * c}])")
        return source.choose(f"{place}.of table", f"{held}[1]", f"{held}.sum()", f"{held}.size(0) * {c}")
    first, second = source.member("factor", "2"), source.member("factor", str(c))
    return f"({first} * {second})" if source.scripted else f"(2 * {c})"


def distance(source, place: str, i: str, j: str) -> str:
    """An expression of numbers over i and j."""
    kind = source.choose(f"{place}.of", "i - j", "j - i", "i", "j", "i + j", "|i - j|", simple=0.3)
    base = {
        "i - j": f"({i} - {j})",
        "j - i": f"({j} - {i})",
        "i": i,
        "j": j,
        "i + j": f"({i} + {j})",
        "|i - j|": f"({i} - {j}).abs()",
    }[kind]
    c = _constant(source, f"{place}.c")
    forms = (
        base,
        f'torch.div({base}, {c}, rounding_mode="floor")',
        f"({base} % {c})",
        f"({base} // {c})",
        f"({base} * {c})",
        f"{base}.clamp(max={c})" if isinstance(c, int) else base,
        f"torch.floor({base} / {c})",
        f"{base}.abs().type(torch.float32).sqrt()",
        f"torch.log2({base}.abs() + 1)",
        f"({base} ** 2)",
        f"({base} / {c})",
        f"torch.remainder({base}, {c})",
        f"{base}.type(torch.int8)",
        f"{base}.type(torch.bfloat16)",
        f"torch.maximum({base}, {j} * 0 + {c})",
        f"({base}.long() >> 2)",
        f"torch.round({base} / {c})",
        f"{base}.neg().relu()",
    )
    return source.choose(f"{place}.form", *forms, simple=0.35)


def _comparison(source, place: str, i: str, j: str) -> str:
    left = distance(source, f"{place}.left", i, j)
    operator = source.choose(f"{place}.compare", "<=", "<", ">=", ">", "==", "!=")
    right = source.choose(f"{place}.right", "constant", "distance", "same form", "of lengths", "negative")
    if right == "constant":
        return f"({left} {operator} {_constant(source, f'{place}.limit')})"
    if right == "negative":
        return f"({left} {operator} -{source.choose(f'{place}.limit', *CONSTANTS)})"
    if right == "of lengths":
        return f"({left} {operator} {j}.size(-1) // 2)"
    if right == "same form":
        other = left.replace(i, "?").replace(j, i).replace("?", j)
        return f"({left} {operator} {other})"
    return f"({left} {operator} {distance(source, f'{place}.other', i, j)})"


def visible(source, place: str, i: str, j: str, depth: int = 2) -> str:
    """A boolean expression [L, S]."""
    kinds = ["causal", "window", "chunk", "comparison"]
    if depth:
        kinds += ["and", "or", "not", "and causal", "where"]
    kind = source.choose(f"{place}.is", *kinds, simple=0.25)
    if kind == "causal":
        return source.choose(
            f"{place}.causal", f"({j} <= {i})", f"({i} >= {j})", f"({j} < {i} + 1)", f"({j} < {i})", f"({j} - {i} <= 0)"
        )
    if kind == "window":
        return f"({i} - {j} < {_constant(source, f'{place}.window')})"
    if kind == "chunk":
        c = source.choose(f"{place}.chunk", *reversed(CONSTANTS))
        floor = f'torch.div({{}}, {c}, rounding_mode="floor")'
        floor = source.choose(f"{place}.division", floor, f"({{}} // {c})", f"({{}} % {c})", f"({{}} - {{}} % {c})")
        return f"({floor.format(i, i)} {source.choose(f'{place}.chunks', '==', '>=')} {floor.format(j, j)})"
    if kind == "comparison":
        return _comparison(source, place, i, j)
    first = visible(source, f"{place}.a", i, j, depth - 1)
    if kind == "not":
        return source.choose(f"{place}.negation", f"(~{first})", f"torch.logical_not({first})", f"({first} == 0)")
    if kind == "and causal":
        return f"(({j} <= {i}) & {first})"
    second = visible(source, f"{place}.b", i, j, depth - 1)
    if kind == "where":
        return f"torch.where({i} % 2 == 0, {first}, {second})"
    symbol = "&" if kind == "and" else "|"
    word = "and" if kind == "and" else "or"
    return source.choose(
        f"{place}.spelled", f"({first} {symbol} {second})", f"torch.logical_{word}({first}, {second})", simple=0.7
    )


def table(source, place: str, queries: str, keys: str) -> str:
    """A boolean expression [L, S] made by tril and triu, in the graph or stored."""
    size = source.choose(f"{place}.stored", 0, 320, 64, 40, simple=0.5)
    c = source.choose(f"{place}.diagonal", 0, 1, -1, 2, -3, 8, 20)
    band = source.choose(f"{place}.band", 0, 3, 8, 32, simple=0.6)
    ones = (
        f"torch.ones({size}, {size}, dtype=torch.bool)" if size else f"torch.ones({queries}, {keys}, dtype=torch.bool)"
    )
    made = f"{ones}.tril({c})" if not source.maybe(f"{place}.upper", 0.15) else f"{ones}.triu({c})"
    if band:
        made = f"({made} & {ones}.triu(-{band}))"
    if not size:
        return made
    held = source.buffer("table", made)
    if source.scripted:
        change = source.choose(f"{place}.changed", "", "copied", "replaced", "by forward", simple=0.8)
        if change in ("copied", "replaced"):
            statement = f"{held}.copy_(value)" if change == "copied" else f"{held} = value"
            source.setter(held, statement, "Tensor", f"torch.ones({size}, {size}, dtype=torch.bool).tril({c} + 2)")
        elif change == "by forward":
            source.at_end[held] = f"{held} = {held}.roll(1, 1)"
    return source.choose(
        f"{place}.cut",
        f"{held}[:{queries}, :{keys}]",
        f"{held}[{keys} - {queries}:{keys}, :{keys}]",
        f"{held}.narrow(0, 0, {queries}).narrow(1, 0, {keys})",
        simple=0.6,
    )
