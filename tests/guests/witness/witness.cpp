// "witness": a guest that notices what changes under it. Once a second it holds known values in all registers
// (hold.S), writes and verifies memory, and tells on COM1:
//
//   witness N ok up=MS ticks=T tsc_khz=K lapic_khz=K changed=C bad_pages=B spurious=S
//   changed NAME expected X found Y | bad-page ADDRESS expected X found Y | exception VECTOR ...
//   report N begin ... end      in rounds 1, 10, 20 ..., after a byte 'r', and where time or a device made a
//   jump
//
// Words on the kernel command line: timer=pit|lapic|rtc|hpet, pic, cpus=N, mem=MiB.
#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"
#include "memory.hpp"
#include "processor.hpp"
#include "report.hpp"
#include "ticks.hpp"

namespace {

struct Options {
    Source source = Source::Pit;
    bool pic = false;
    uint64_t cpus = 1, megabytes = 8;
};

bool word(const char*& at, const char* wanted) {
    const char* p = at;
    while (*wanted && *p == *wanted) ++p, ++wanted;
    if (*wanted || (p[-1] != '=' && *p && *p != ' ')) return false;
    at = p;
    return true;
}

uint64_t number(const char*& at) {
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; ++at) value = value * 10 + *at - '0';
    return value;
}

Options parse(const char* at) {
    Options options;
    while (*at) {
        if (word(at, "timer=pit")) options.source = Source::Pit;
        if (word(at, "timer=lapic")) options.source = Source::Lapic;
        if (word(at, "timer=rtc")) options.source = Source::Rtc;
        if (word(at, "timer=hpet")) options.source = Source::Hpet;
        if (word(at, "pic")) options.pic = true;
        if (word(at, "cpus=")) options.cpus = number(at);
        if (word(at, "mem=")) options.megabytes = number(at);
        while (*at && *at != ' ') ++at;
        while (*at == ' ') ++at;
    }
    return options;
}

// What tells that the machine is another one now.
struct Machine {
    uint64_t tsc_khz;
    uint32_t io_apic_version;
    bool hpet;
    uint16_t clock_port;
};

bool jumped(const Machine& before, const Machine& now) {
    const uint64_t difference =
        before.tsc_khz > now.tsc_khz ? before.tsc_khz - now.tsc_khz : now.tsc_khz - before.tsc_khz;
    return difference > before.tsc_khz / 20 || before.io_apic_version != now.io_apic_version ||
           before.hpet != now.hpet || before.clock_port != now.clock_port;
}

uint64_t per_ms(uint64_t count, uint64_t pm) {
    return pm ? count * PM_HZ / pm / 1000 : 0;
}

}  // namespace

// From boot.S. `memory_kib`: of RAM above 1 MiB.
extern "C" [[noreturn]] void witness_main(const char* command_line, uint32_t memory_kib) {
    Cpu& cpu = cpus[0];
    console_start();
    print("witness starts\n");
    const bool has_acpi = acpi_read();
    const Options options = parse(command_line ? command_line : "");
    control_start(cpu);
    cpu.lapic_id = load<uint32_t>(LAPIC + 0x20) >> 24;
    print("acpi=%u pm_timer=%x io_apic=%x pins=%u hpet=%x lapics=%u memory_kib=%u\n", has_acpi, acpi.pm_timer,
          acpi.io_apic, io_apic_pins(), acpi.hpet, acpi.lapics, memory_kib);
    clock_check();
    ticks_start(options.source, options.pic);
    devices_start();
    asm volatile("sti");
    processors_start(options.cpus);
    memory_start(options.megabytes, memory_kib);
    control_collect(cpu);
    control_expect(cpu);

    Machine machine{};
    for (uint32_t round = 1;; ++round) {
        const uint64_t pm = clock_ticks(), tsc = read_tsc();
        held_prepare(cpu, round);
        const bool ticked = ticks_hold(1000, round % 4 != 0);
        unsigned changed = held_compare(cpu);
        if (!ticked) ++changed, print("changed tick expected interrupts found none\n");
        control_collect(cpu);
        changed += control_compare(cpu) + processors_compare();
        changed += !clock_check();
        const Machine now{per_ms(read_tsc() - tsc, clock_ticks() - pm), acpi.io_apic ? io_apic_read(1) : 0,
                          hpet_present(), clock_port()};
        const unsigned bad = memory_round();
        const bool asked = console_received('r');
        if (round == 1 || round % 10 == 0 || asked || jumped(machine, now)) report(round, rates_measure());
        machine = now;
        print("witness %u ok up=%u ticks=%u tsc_khz=%u lapic_khz=%u changed=%u bad_pages=%u spurious=%u\n",
              round, clock_ms(), ticks_count(), now.tsc_khz, lapic_khz(), changed, bad, ticks_spurious());
    }
}
