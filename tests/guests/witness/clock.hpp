// The PM timer, by which everything is measured.
#pragma once
#include <cstdint>

constexpr uint64_t PM_HZ = 3579545;

// Cumulative; each wrap of the 24 bits (4.7 s) has to be seen, and is, by the ticks.
uint64_t clock_ticks();
inline uint64_t clock_ms() {
    return clock_ticks() * 1000 / PM_HZ;
}
uint16_t clock_port();
// Whether the PM timer counts where it did; else that is printed, and a port where it does is looked for.
bool clock_check();
