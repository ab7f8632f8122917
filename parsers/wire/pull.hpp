// The contract of every framing reader: a record · need more · error.
//
//     Result<Step<Event>> next(Bytes in);
//
// `in` holds the unread bytes that have arrived so far, beginning with the first one that the reader has not
// consumed. The reader never waits, never copies payload, and keeps no reference to `in` after returning.
//
//   - it found something: `event` is set and `consumed` > 0 bytes of `in` belong to it (or 0 for an event
//     that marks a state and has no bytes). Spans inside the event point into `in`; they are lent until the
//     caller gives these bytes up.
//   - need more: `event` is empty, `consumed` is 0; `need` is the least total size of `in` that can bring the
//     reader further (> in.size(), and never more than a limit named in the reader's header).
//   - error: the stream is wrong; the reader must not be used again.
//
// An end of the stream in the wrong place is the caller's knowledge: it then calls `truncated()` on the
// reader, which says what was being read.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry {

template <typename Event>
struct Step {
    std::size_t consumed = 0;
    std::size_t need = 0;
    std::optional<Event> event;

    static Step more(std::size_t need) { return {0, need, std::nullopt}; }
    static Step found(std::size_t consumed, Event event) { return {consumed, 0, std::move(event)}; }
};

}  // namespace vmferry
