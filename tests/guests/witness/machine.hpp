// Instructions that C++ has no words for.
#pragma once
#include <cstdint>

template <typename T = uint8_t>
T in(uint16_t port) {
    T value;
    asm volatile("in %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

template <typename T = uint8_t>
void out(uint16_t port, T value) {
    asm volatile("out %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

template <typename T>
T load(uint64_t address) {
    return *reinterpret_cast<const volatile T*>(address);
}

template <typename T>
void store(uint64_t address, T value) {
    *reinterpret_cast<volatile T*>(address) = value;
}

inline uint64_t read_tsc() {
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return low | uint64_t(high) << 32;
}

// False if the CPU has no such register, or will not have that value (interrupt.S).
extern "C" bool read_msr_guarded(uint32_t number, uint64_t* value);
extern "C" bool write_msr_guarded(uint32_t number, uint64_t value);

inline uint64_t read_msr(uint32_t number) {
    uint64_t value = 0;
    read_msr_guarded(number, &value);
    return value;
}

struct Cpuid {
    uint32_t a, b, c, d;
};

inline Cpuid cpuid(uint32_t leaf, uint32_t sub = 0) {
    Cpuid r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "0"(leaf), "2"(sub));
    return r;
}

// For what an interrupt must not come into; puts the flag back.
class InterruptsOff {
  public:
    InterruptsOff() { asm volatile("pushfq; pop %0; cli" : "=r"(flags_)::"memory"); }
    ~InterruptsOff() {
        if (flags_ & 0x200) asm volatile("sti" ::: "memory");
    }
    InterruptsOff(const InterruptsOff&) = delete;

  private:
    uint64_t flags_;
};
