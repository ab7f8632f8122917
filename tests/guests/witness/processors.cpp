// The other CPUs: started by INIT and startup IPI, each holds registers until the first CPU's interrupt, then
// compares.
#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"
#include "processor.hpp"
#include "ticks.hpp"

extern "C" char other_cpu_start[], other_cpu_start_end[];
extern "C" {
Cpu* first_cpu_stack = cpus + 1;  // the end of the first block; boot.S begins there
uint8_t* volatile other_cpu_stack;
}

alignas(0x8000) Cpu cpus[MOST_CPUS];
unsigned cpu_count = 1;

namespace {

constexpr uint64_t START = 0x8000;
constexpr uint32_t PING_VECTOR = 0x42;

void wait_ms(uint64_t ms) {
    const uint64_t end = clock_ms() + ms;
    for (int i = 0; i < 10000000 && clock_ms() < end; ++i)
        ;
}

// SDM 3A 11.6.1
void send(uint32_t lapic_id, uint32_t command) {
    store<uint32_t>(LAPIC + 0x310, lapic_id << 24);
    store<uint32_t>(LAPIC + 0x300, command);
    for (int i = 0; i < 100000 && load<uint32_t>(LAPIC + 0x300) & 1 << 12; ++i)
        ;
}

}  // namespace

extern "C" void other_cpu_main() {
    Cpu& cpu = this_cpu();
    control_start(cpu);
    lapic_start();
    control_collect(cpu);
    control_expect(cpu);
    for (uint32_t round = 1;; ++round) {
        held_prepare(cpu, round);
        cpu.hold_next = reinterpret_cast<uint64_t>(round % 4 ? hold_halt : hold_spin);
        cpu.online = 1;
        hold();
        control_collect(cpu);
        cpu.rounds =
            round;  // the first CPU compares and prints; until it has, nothing of this may be written over
        while (cpu.rounds) asm volatile("pause" ::: "memory");
    }
}

void processors_start(unsigned wanted) {
    for (const char* at = other_cpu_start; at < other_cpu_start_end; ++at)
        store<char>(START + (at - other_cpu_start), *at);
    for (unsigned i = 0; i < acpi.lapics && cpu_count < wanted && cpu_count < MOST_CPUS; ++i) {
        const uint32_t id = acpi.lapic_ids[i];
        if (id == cpus[0].lapic_id) continue;
        Cpu& cpu = cpus[cpu_count];
        cpu.index = cpu_count;
        cpu.lapic_id = id;
        other_cpu_stack = cpu.stack + sizeof cpu.stack;
        // SDM 3A 8.4.4.1: INIT, 10 ms, startup, 200 us, startup.
        send(id, 0x4500);
        wait_ms(10);
        for (int attempt = 0; attempt < 2 && !cpu.online; ++attempt) {
            send(id, 0x4600 | START >> 12);
            wait_ms(attempt ? 500 : 20);
        }
        if (!cpu.online) {
            print("no cpu with lapic id %x\n", id);
            return;
        }
        ++cpu_count;
    }
}

unsigned processors_compare() {
    unsigned changed = 0;
    for (unsigned i = 1; i < cpu_count; ++i) {
        Cpu& cpu = cpus[i];
        if (!cpu.rounds) send(cpu.lapic_id, PING_VECTOR | 0x4000);
        const uint64_t end = clock_ms() + 1000;
        for (int n = 0; n < 1000000 && !cpu.rounds && clock_ms() < end; ++n) asm volatile("pause");
        if (!cpu.rounds) {
            ++changed;
            print("changed cpu%u expected running found silent\n", i);
            continue;
        }
        changed += held_compare(cpu) + control_compare(cpu);
        cpu.rounds = 0;
    }
    return changed;
}
