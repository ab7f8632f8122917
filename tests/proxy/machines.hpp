// Small machines for tests against the real QEMU.
#pragma once

#include <string>
#include <vector>

#include "proxy/twin.hpp"
#include "translators/plan.hpp"

namespace vmferry::test {

inline constexpr auto qemu_binary = "qemu-system-x86_64";

/// A machine of 64 MB; `disk` is the value of its IDE -drive, empty for none.
inline std::vector<std::string> machine_arguments(const std::string& disk = {}) {
    std::vector<std::string> words{"-accel",      "tcg",
                                   "-M",          "pc-i440fx-7.2,hpet=off,vmport=off",
                                   "-cpu",        "max",
                                   "-m",          "64",
                                   "-nodefaults", "-no-user-config",
                                   "-display",    "none",
                                   "-device",     "cirrus-vga,addr=2,vgamem_mb=8"};
    if (!disk.empty()) words.insert(words.end(), {"-drive", disk});
    return words;
}

inline TwinRequest small_machine() {
    return {qemu_binary, machine_arguments()};
}

}  // namespace vmferry::test
