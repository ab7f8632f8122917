// Time: the PM timer, by which everything is measured, and the periodic interrupt.
#pragma once
#include <cstdint>

enum class Source { Pit, Lapic, Rtc, Hpet };

constexpr uint64_t LAPIC = 0xFEE00000;
constexpr uint64_t PM_HZ = 3579545;

// Cumulative; each wrap of the 24 bits (4.7 s) has to be seen, and is, by the ticks.
uint64_t clock_ticks();
inline uint64_t clock_ms() {
    return clock_ticks() * 1000 / PM_HZ;
}
uint16_t clock_port();
// Whether the PM timer counts where it did; else that is printed, and a port where it does is looked for.
bool clock_check();

void ticks_start(Source source, bool pic);
uint64_t ticks_count();
uint64_t ticks_spurious();
uint64_t lapic_khz();  // the LAPIC timer's counts, after its divider, during 5 ms: a rough value
// Holds the registers for that long. False if the tick was missing (something else woke us up).
bool ticks_hold(uint32_t ms, bool halt);
void ticks_interrupt(uint64_t vector);
void lapic_start();

struct Rates {
    bool known;
    uint64_t pm, tsc, lapic, pit, hpet, ticks, seconds;  // counts in `pm` ticks of the PM timer
    uint64_t pit_pm;                                     // the part of `pm` that `pit` was counted in
};
Rates rates_measure();

// The I/O APIC's registers are behind an index.
uint32_t io_apic_read(uint32_t index);
unsigned io_apic_pins();
bool hpet_present();
uint8_t rtc_read(uint8_t index);
void rtc_write(uint8_t index, uint8_t value);
