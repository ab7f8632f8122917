// The periodic interrupt from the PIT, the LAPIC, the RTC or the HPET. Another timer is the watchdog, because
// a hold ends with an interrupt:
//
//   tick source      vector 8259 / I/O APIC   rate      watchdog
//   pit  channel 0   30 / 62 (pin 2)          100 Hz    lapic, 2 Hz
//   rtc              38 / 68                   64 Hz    lapic, 2 Hz
//   hpet timer 0     30 / 62 (legacy route)   100 Hz    lapic, 2 Hz
//   lapic            40                       100 Hz    pit, 18 Hz
//
// Data sheets: 8254, 8259A, MC146818A, 82093AA (I/O APIC), IA-PC HPET 1.0a; LAPIC: SDM 3A chapter 11.
#include "ticks.hpp"

#include <initializer_list>

#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"

namespace {

constexpr uint8_t PIC_VECTOR = 0x30, LAPIC_VECTOR = 0x40, WATCHDOG_VECTOR = 0x41, IO_APIC_VECTOR = 0x60;
constexpr uint32_t MASKED = 1 << 16;
constexpr uint16_t PIT_HZ100 = 11932;
constexpr unsigned MOST_TICKS = 400;               // of a hold, should the PM timer stand still
constexpr unsigned MOST_PIT = 72, MOST_LAPIC = 8;  // of the watchdog's without a tick: 4 s

Source source;
bool use_pic;
uint32_t lapic_initial;
volatile uint64_t ticks, spurious;
volatile uint64_t deadline;
volatile unsigned held_ticks, without_tick;
volatile bool holding, lost;

void end_hold() {
    cpus[0].hold_next = reinterpret_cast<uint64_t>(hold_done);
    holding = false;
}

void tick() {
    ticks = ticks + 1;
    without_tick = 0;
    held_ticks = held_ticks + 1;
    const uint64_t now = clock_ms();
    if (holding && (now >= deadline || held_ticks > MOST_TICKS)) end_hold();
}

void watchdog() {
    clock_ticks();
    without_tick = without_tick + 1;
    if (!holding || without_tick <= (source == Source::Lapic ? MOST_PIT : MOST_LAPIC)) return;
    lost = true;
    end_hold();
}

void io_apic_write(uint32_t index, uint32_t value) {
    store<uint32_t>(acpi.io_apic, index);
    store<uint32_t>(acpi.io_apic + 0x10, value);
}

void pic_start(uint16_t enabled) {
    out<uint8_t>(0x20, 0x11);
    out<uint8_t>(0xA0, 0x11);
    out<uint8_t>(0x21, PIC_VECTOR);
    out<uint8_t>(0xA1, PIC_VECTOR + 8);
    out<uint8_t>(0x21, 4);
    out<uint8_t>(0xA1, 2);
    out<uint8_t>(0x21, 1);
    out<uint8_t>(0xA1, 1);
    out<uint8_t>(0x21, ~enabled);
    out<uint8_t>(0xA1, ~enabled >> 8);
}

// Each pin has a vector and a destination of its own; all but one are masked. From 16 on they are the PCI
// interrupts: level, low.
void io_apic_start(unsigned enabled_pin, bool enabled) {
    for (unsigned pin = 0; pin < io_apic_pins(); ++pin) {
        const uint32_t mode = pin < 16 ? 0 : 0xA000;
        const bool used = enabled && pin == enabled_pin;
        io_apic_write(0x11 + 2 * pin, (used ? cpus[0].lapic_id : 0x40 + pin) << 24);
        io_apic_write(0x10 + 2 * pin, (IO_APIC_VECTOR + pin) | mode | (used ? 0 : MASKED));
    }
}

void pit_start(uint16_t count) {
    out<uint8_t>(0x43, 0x34);  // channel 0, mode 2
    out<uint8_t>(0x40, count);
    out<uint8_t>(0x40, count >> 8);
    out<uint8_t>(0x43,
                 0xB4);  // channel 2, mode 2, 65536; its gate is bit 0 of port 61, the loudspeaker bit 1
    out<uint8_t>(0x42, 0);
    out<uint8_t>(0x42, 0);
    out<uint8_t>(0x61, (in(0x61) & 0xC) | 1);
}

bool hpet_start() {
    if (!hpet_present()) return false;
    const uint64_t capabilities = load<uint64_t>(acpi.hpet);
    const uint64_t period =
        10000000000000 / (capabilities >> 32);  // 10 ms; the clock's period is in femtoseconds
    store<uint64_t>(acpi.hpet + 0x10, 0);
    store<uint64_t>(acpi.hpet + 0xF0, 0);
    store<uint64_t>(acpi.hpet + 0x100,
                    0x4C);  // timer 0: interrupt, periodic, the next write is the comparator
    store<uint64_t>(acpi.hpet + 0x108, period);
    store<uint64_t>(acpi.hpet + 0x108, period);  // and this one the period
    store<uint64_t>(acpi.hpet + 0x10, 3);        // counts; timer 0 has the PIT's interrupt
    return true;
}

uint16_t pit_count() {
    out<uint8_t>(0x43, 0x80);
    const uint8_t low = in(0x42);
    return low | in(0x42) << 8;
}

// The pin's or IRQ's source, told by the vector.
bool is_line(uint64_t vector, unsigned irq, unsigned pin) {
    return use_pic ? vector == PIC_VECTOR + irq : vector == uint64_t(IO_APIC_VECTOR) + pin;
}

void end_of_interrupt(uint64_t vector) {
    if (vector < PIC_VECTOR || vector >= PIC_VECTOR + 16) {
        store<uint32_t>(LAPIC + 0xB0, 0);
        return;
    }
    if (vector >= PIC_VECTOR + 8) out<uint8_t>(0xA0, 0x20);
    out<uint8_t>(0x20, 0x20);
}

// 8259A: IRQ 7 (15) without its bit in service is no interrupt at all.
bool pic_spurious(uint64_t vector) {
    if (vector != PIC_VECTOR + 7 && vector != PIC_VECTOR + 15) return false;
    const uint16_t port = vector == PIC_VECTOR + 7 ? 0x20 : 0xA0;
    out<uint8_t>(port, 0x0B);
    return !(in(port)&0x80);
}

struct Sample {
    uint64_t pm, tsc, ticks;
    uint32_t lapic, hpet;
    uint16_t pit;
};

// Between two looks at the PM timer that are close to one another: the CPU itself may have been waiting for
// its host.
Sample sample() {
    Sample s{};
    for (int i = 0; i < 50; ++i) {
        s.pm = clock_ticks();
        s.tsc = read_tsc();
        s.ticks = ticks;
        s.lapic = load<uint32_t>(LAPIC + 0x390);
        s.pit = pit_count();
        s.hpet = hpet_present() ? load<uint32_t>(acpi.hpet + 0xF0) : 0;
        if (clock_ticks() - s.pm < PM_HZ / 500) break;
    }
    return s;
}

// From one change of the RTC's seconds to the next; in between the CPU waits for interrupts.
Rates measure_once() {
    Rates r{};
    const uint64_t give_up = clock_ticks() + 3 * PM_HZ;
    uint8_t second = rtc_read(0);
    Sample first{}, last{};
    for (int i = 0; i < 1000 && clock_ticks() < give_up;
         ++i) {  // by the clock, or by ticks should it stand still
        asm volatile("sti; hlt" ::: "memory");
        const uint8_t now = rtc_read(0);
        const Sample s = sample();
        if (first.pm) {
            if (s.pm - last.pm < PM_HZ / 25) {  // else channel 2 may have wrapped: 55 ms
                r.pit += uint16_t(last.pit - s.pit);
                r.pit_pm += s.pm - last.pm;
            }
            if (source != Source::Lapic)
                r.lapic += last.lapic >= s.lapic ? last.lapic - s.lapic
                                                 : last.lapic + load<uint32_t>(LAPIC + 0x380) - s.lapic;
            last = s;
        }
        if (now == second) continue;
        second = now;
        if (!first.pm) {
            first = last = s;
            continue;
        }
        r.known = true;
        r.pm = s.pm - first.pm;
        r.tsc = s.tsc - first.tsc;
        r.ticks = s.ticks - first.ticks;
        if (source == Source::Lapic) r.lapic = r.ticks * load<uint32_t>(LAPIC + 0x380);
        r.hpet = uint32_t(s.hpet - first.hpet);
        r.seconds = 1;
        break;
    }
    return r;
}

}  // namespace

uint32_t io_apic_read(uint32_t index) {
    store<uint32_t>(acpi.io_apic, index);
    return load<uint32_t>(acpi.io_apic + 0x10);
}

unsigned io_apic_pins() {
    if (!acpi.io_apic) return 0;
    const unsigned last = io_apic_read(1) >> 16 & 0xFF;
    return last < 120 ? last + 1 : 0;
}

bool hpet_present() {
    const uint32_t id = acpi.hpet ? load<uint32_t>(acpi.hpet) : 0;
    return id != 0 && id != 0xFFFFFFFF;
}

uint8_t rtc_read(uint8_t index) {
    const InterruptsOff off;  // which use the index themselves
    out<uint8_t>(0x70, index);
    return in(0x71);
}

void rtc_write(uint8_t index, uint8_t value) {
    const InterruptsOff off;
    out<uint8_t>(0x70, index);
    out<uint8_t>(0x71, value);
}

// SDM 3A 11.4 to 11.8.
void lapic_start() {
    store<uint32_t>(LAPIC + 0xF0, 0x1FF);
    store<uint32_t>(LAPIC + 0xD0, 0x11u << this_cpu().index << 24);  // logical destination
    store<uint32_t>(LAPIC + 0x370, 0x000FE | MASKED);                // error
    store<uint32_t>(LAPIC + 0x350, use_pic && !this_cpu().index ? 0x700 : 0x700 | MASKED);  // LINT0: the 8259
    store<uint32_t>(LAPIC + 0x360, 0x400);                                                  // LINT1: NMI
    store<uint32_t>(LAPIC + 0x340, 0x000FD | MASKED);  // performance counters
    store<uint32_t>(LAPIC + 0x320, 0x200FC | MASKED);  // timer
    store<uint32_t>(LAPIC + 0x3E0, 3);                 // divided by 16
    // Task priority; not through CR8, as QEMU 7.2's TCG aborts when a nested guest writes it while an
    // interrupt waits.
    store<uint32_t>(LAPIC + 0x80, 0x10);
}

void ticks_start(Source wanted, bool pic) {
    source = wanted;
    use_pic = pic;
    const unsigned irq = source == Source::Rtc ? 8 : 0;
    const unsigned pin = source == Source::Rtc ? 8 : acpi.irq0_pin;
    // With the I/O APIC LINT0 is masked, so that any mask will do here.
    pic_start(use_pic ? 1 << irq | 4 : 0x5A5A);
    io_apic_start(pin, !use_pic);
    lapic_start();
    pit_start(source == Source::Lapic ? 0 : PIT_HZ100);
    rtc_write(0x0A, 0x2A);  // 32768 Hz, 64 interrupts a second
    rtc_write(0x0B, source == Source::Rtc ? 0x42 : 0x02);
    rtc_read(0x0C);
    if (source == Source::Hpet && !hpet_start()) print("no hpet\n");

    store<uint32_t>(LAPIC + 0x380, 0xFFFFFFFF);
    const uint64_t start = clock_ticks();
    for (int i = 0; i < 1000000 && clock_ticks() < start + PM_HZ / 20; ++i)
        ;
    const uint64_t elapsed = clock_ticks() - start;
    const uint64_t hz =
        elapsed ? (0xFFFFFFFF - uint64_t(load<uint32_t>(LAPIC + 0x390))) * PM_HZ / elapsed : 0;
    const bool ticking = source == Source::Lapic;
    lapic_initial = hz / (ticking ? 100 : 2);
    store<uint32_t>(LAPIC + 0x320, 0x20000 | (ticking ? LAPIC_VECTOR : WATCHDOG_VECTOR));
    store<uint32_t>(LAPIC + 0x380, lapic_initial);
}

uint64_t ticks_count() {
    return ticks;
}
uint64_t ticks_spurious() {
    return spurious;
}

bool ticks_hold(uint32_t ms, bool halt) {
    asm volatile("cli" ::: "memory");
    deadline = clock_ms() + ms;
    held_ticks = 0;
    without_tick = 0;
    lost = false;
    holding = true;
    cpus[0].hold_next = reinterpret_cast<uint64_t>(halt ? hold_halt : hold_spin);
    hold();
    asm volatile("sti" ::: "memory");
    return !lost;
}

void ticks_interrupt(uint64_t vector) {
    const bool timer = is_line(vector, 0, acpi.irq0_pin);
    if (vector == 0xFF || (use_pic && pic_spurious(vector))) {  // no end of interrupt: nothing is in service
        spurious = spurious + 1;
        if (vector == PIC_VECTOR + 15) out<uint8_t>(0x20, 0x20);
        return;
    }
    if (source == Source::Rtc && is_line(vector, 8, 8)) {
        rtc_read(0x0C);
        tick();
    } else if (timer && source == Source::Lapic) {
        watchdog();
    } else if (timer && source != Source::Rtc) {
        tick();
    } else if (vector == LAPIC_VECTOR) {
        tick();
    } else if (vector == WATCHDOG_VECTOR) {
        watchdog();
    } else {
        spurious = spurious + 1;
        print("unexpected-interrupt %x\n", vector);
    }
    end_of_interrupt(vector);
}

uint64_t lapic_khz() {
    const Sample first = sample();
    for (int i = 0; i < 100000 && clock_ticks() < first.pm + PM_HZ / 200; ++i)
        ;
    const Sample last = sample();
    const uint64_t count = first.lapic >= last.lapic
                               ? first.lapic - last.lapic
                               : first.lapic + load<uint32_t>(LAPIC + 0x380) - last.lapic;
    return last.pm == first.pm ? 0 : count * PM_HZ / (last.pm - first.pm) / 1000;
}

// A CPU that its host lets wait for longer than a period loses ticks: the best of three tries.
Rates rates_measure() {
    const uint64_t hz = source == Source::Rtc ? 64 : 100;
    Rates best{};
    for (int i = 0; i < 3; ++i) {
        const Rates now = measure_once();
        if (now.known && (!best.known || now.ticks * best.pm > best.ticks * now.pm)) best = now;
        if (best.known && best.ticks * PM_HZ * 100 > best.pm * hz * 98) break;
    }
    return best;
}
