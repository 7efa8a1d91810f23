// Standard streams that whoever started the program has closed.
#pragma once

namespace flashconvert::app {

// Takes the numbers of closed standard streams, before any file of ours gets one: a checkpoint that is being written
// would otherwise receive what is meant for a closed stream. Reading from such a stream, and writing to it, stays an
// error.
void reserve_closed_streams();

}  // namespace flashconvert::app
