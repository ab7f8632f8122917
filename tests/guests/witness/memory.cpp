// RAM that is written and verified all the time: pages from 16 MiB on, each full of words made of its address
// and of the number of times it was written. That number is kept elsewhere, so a page of an earlier time is
// noticed.
#include "memory.hpp"

#include "console.hpp"
#include "machine.hpp"

namespace {

constexpr uint64_t BASE = 16 << 20;
constexpr uint64_t MOST = 512 << 8;  // pages in 512 MiB
constexpr unsigned SLICES = 16, WRITES = 64;

uint16_t generations[MOST];
uint64_t pages, next_write, next_slice;

uint64_t word(uint64_t address, uint64_t generation) {
    return (address ^ generation << 40) * 0x9E3779B97F4A7C15 + generation;
}

void write(uint64_t page) {
    const uint64_t generation = ++generations[page], at = BASE + page * 4096;
    for (uint64_t i = 0; i < 4096; i += 8) store<uint64_t>(at + i, word(at + i, generation));
}

bool verify(uint64_t page) {
    const uint64_t at = BASE + page * 4096;
    for (uint64_t i = 0; i < 4096; i += 8) {
        const auto found = load<uint64_t>(at + i);
        const auto expected = word(at + i, generations[page]);
        if (found == expected) continue;
        print("bad-page %8x expected %16x found %16x\n", at + i, expected, found);
        write(page);
        return false;
    }
    return true;
}

}  // namespace

void memory_start(uint64_t megabytes, uint64_t available_kib) {
    const uint64_t most = available_kib > 20 << 10 ? available_kib / 4 - 20 * 256
                                                   : 0;  // it begins at 1 MiB; the top is the BIOS's
    pages = megabytes * 256 < most ? megabytes * 256 : most;
    if (pages > MOST) pages = MOST;
    for (uint64_t i = 0; i < pages; ++i) write(i);
}

unsigned memory_round() {
    unsigned bad = 0;
    if (!pages) return 0;
    for (uint64_t i = next_slice; i < pages; i += SLICES) bad += !verify(i);
    next_slice = (next_slice + 1) % SLICES;
    for (unsigned i = 0; i < WRITES; ++i) {
        // A stride that is odd and not near a power of two reaches every page, scattered.
        next_write = (next_write + 587) % pages;
        bad += !verify(next_write);
        write(next_write);
    }
    return bad;
}
