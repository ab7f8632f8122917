// COM1, the only output, and the bytes that come from there.
#pragma once
#include <cstdint>

void console_start();
bool console_received(char wanted);
void print_values(const char* format, const uint64_t* values);

// %s a string, %u decimal, %x hexadecimal, %2x .. %16x hexadecimal with that many digits at least.
template <typename... T>
void print(const char* format, T... values) {
    const uint64_t all[] = {(uint64_t)values..., 0};
    print_values(format, all);
}
