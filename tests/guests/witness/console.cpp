// COM1, a 16550: 115200 baud, 8N1, polled.
#include "console.hpp"

#include "machine.hpp"

namespace {

constexpr uint16_t PORT = 0x3F8;
constexpr int WAIT = 100000;  // reads of a port take about 1 us; a byte takes 87 us

void put(char c) {
    for (int i = 0; i < WAIT && !(in(PORT + 5) & 0x20); ++i)
        ;
    out<uint8_t>(PORT, c);
}

void put_number(uint64_t value, unsigned base, int digits) {
    char text[24];
    int n = 0;
    do {
        text[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || n < digits);
    while (n) put(text[--n]);
}

}  // namespace

void console_start() {
    out<uint8_t>(PORT + 1, 0);
    out<uint8_t>(PORT + 3, 0x80);  // the divisor
    out<uint8_t>(PORT, 1);
    out<uint8_t>(PORT + 1, 0);
    out<uint8_t>(PORT + 3, 3);  // 8N1
    out<uint8_t>(PORT + 2, 7);  // the FIFOs, emptied
    out<uint8_t>(PORT + 4, 3);  // DTR, RTS
    out<uint8_t>(PORT + 7, 0x5A);
}

bool console_received(char wanted) {
    bool found = false;
    for (int i = 0; i < 64 && in(PORT + 5) & 1; ++i) found |= in(PORT) == uint8_t(wanted);
    return found;
}

void print_values(const char* format, const uint64_t* values) {
    for (; *format; ++format) {
        if (*format == '\n') put('\r');
        if (*format != '%') {
            put(*format);
            continue;
        }
        int digits = 0;
        while (*++format >= '0' && *format <= '9') digits = digits * 10 + *format - '0';
        const uint64_t value = *values++;
        if (*format == 's')
            for (auto s = reinterpret_cast<const char*>(value); *s; ++s) put(*s);
        else
            put_number(value, *format == 'u' ? 10 : 16, digits);
    }
}
