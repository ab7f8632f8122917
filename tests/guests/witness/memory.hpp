// RAM that is written and verified all the time.
#pragma once
#include <cstdint>

void memory_start(uint64_t megabytes, uint64_t available_kib);
// Verifies a sixteenth of the pages, then writes a few; returns how many pages were wrong (each is printed).
unsigned memory_round();
