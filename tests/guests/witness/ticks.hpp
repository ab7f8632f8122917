// The periodic interrupt, and the rates of all timers.
#pragma once
#include <cstdint>

#include "clock.hpp"

enum class Source { Pit, Lapic, Rtc, Hpet };

constexpr uint64_t LAPIC = 0xFEE00000;

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
