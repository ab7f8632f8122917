// The five messages that xl's two ends exchange around the stream.
//
//     target → source   banner    54 bytes, no NUL
//     source → target   (header and stream)
//     target → source   ready     34 bytes with NUL     destination holds everything, paused
//     source → target   go        44 bytes with NUL     the source has let go: point of no return
//     target → source   report    39 bytes with NUL, then 1 byte: 0 = running
//     target → source   give-back 44 bytes (= go), only after a report ≠ 0, when the copy is certainly gone
#pragma once

#include <string_view>

namespace vmferry::xen {

using namespace std::string_view_literals;
inline constexpr auto banner = "xl migration receiver ready, send binary domain data.\n"sv;
inline constexpr auto ready = "domain received, ready to unpause\0"sv;
inline constexpr auto go = "domain is yours, you are cleared to unpause\0"sv;
inline constexpr auto report = "my copy unpause results are as follows\0"sv;
static_assert(banner.size() == 54 && ready.size() == 34 && go.size() == 44 && report.size() == 39);

}  // namespace vmferry::xen
