// The full report: every register of CPUs and devices that can be read without changing anything.
#pragma once
#include <cstdint>

#include "ticks.hpp"

void report(uint32_t number, const Rates& rates);
// devices.cpp
void devices_start();
void devices_report();
