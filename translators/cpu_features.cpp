#include "translators/cpu_features.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace vmferry {

namespace {

using enum CpuidRegister;

constexpr CpuidWord leaf1_ecx{1, 0, ecx}, leaf1_edx{1, 0, edx};
constexpr CpuidWord leaf6_eax{6, 0, eax};
constexpr CpuidWord leaf7_ebx{7, 0, ebx}, leaf7_ecx{7, 0, ecx}, leaf7_edx{7, 0, edx};
constexpr CpuidWord leaf7_1_eax{7, 1, eax}, leaf7_1_ebx{7, 1, ebx}, leaf7_1_ecx{7, 1, ecx};
constexpr CpuidWord leaf7_1_edx{7, 1, edx}, leaf7_2_edx{7, 2, edx};
constexpr CpuidWord xsave_eax{0xD, 1, eax};
constexpr CpuidWord ext1_ecx{0x80000001, 0, ecx}, ext1_edx{0x80000001, 0, edx};
constexpr CpuidWord ext7_edx{0x80000007, 0, edx}, ext8_ebx{0x80000008, 0, ebx};
constexpr CpuidWord ext21_eax{0x80000021, 0, eax};

constexpr std::array words{leaf1_ecx,   leaf1_edx,   leaf6_eax,   leaf7_ebx,   leaf7_ecx,   leaf7_edx,
                           leaf7_1_eax, leaf7_1_ebx, leaf7_1_ecx, leaf7_1_edx, leaf7_2_edx, xsave_eax,
                           ext1_ecx,    ext1_edx,    ext7_edx,    ext8_ebx,    ext21_eax};

// Found by switching each name on in QEMU 7.2 and reading its feature words back. The last column tells
// whether TCG can show it (7.2, or known of a later release).
// clang-format off
constexpr NamedFeature names[] = {
    {leaf1_ecx, 0, "pni", true}, {leaf1_ecx, 1, "pclmulqdq", true}, {leaf1_ecx, 3, "monitor", true},
    {leaf1_ecx, 5, "vmx", false}, {leaf1_ecx, 9, "ssse3", true}, {leaf1_ecx, 12, "fma", true},
    {leaf1_ecx, 13, "cx16", true}, {leaf1_ecx, 17, "pcid", false}, {leaf1_ecx, 19, "sse4.1", true},
    {leaf1_ecx, 20, "sse4.2", true}, {leaf1_ecx, 21, "x2apic", true}, {leaf1_ecx, 22, "movbe", true},
    {leaf1_ecx, 23, "popcnt", true}, {leaf1_ecx, 24, "tsc-deadline", false}, {leaf1_ecx, 25, "aes", true},
    {leaf1_ecx, 26, "xsave", true}, {leaf1_ecx, 28, "avx", true}, {leaf1_ecx, 29, "f16c", true},
    {leaf1_ecx, 30, "rdrand", true}, {leaf1_edx, 1, "vme", false}, {leaf1_edx, 2, "de", true},
    {leaf1_edx, 3, "pse", true}, {leaf1_edx, 6, "pae", true}, {leaf1_edx, 7, "mce", true},
    {leaf1_edx, 8, "cx8", true}, {leaf1_edx, 11, "sep", true}, {leaf1_edx, 12, "mtrr", true},
    {leaf1_edx, 13, "pge", true}, {leaf1_edx, 14, "mca", true}, {leaf1_edx, 15, "cmov", true},
    {leaf1_edx, 16, "pat", true}, {leaf1_edx, 17, "pse36", true}, {leaf1_edx, 19, "clflush", true},
    {leaf1_edx, 23, "mmx", true}, {leaf1_edx, 24, "fxsr", true}, {leaf1_edx, 25, "sse", true},
    {leaf1_edx, 26, "sse2", true}, {leaf6_eax, 2, "arat", true}, {leaf7_ebx, 0, "fsgsbase", true},
    {leaf7_ebx, 1, "tsc-adjust", false}, {leaf7_ebx, 3, "bmi1", true}, {leaf7_ebx, 4, "hle", false},
    {leaf7_ebx, 5, "avx2", true}, {leaf7_ebx, 7, "smep", true}, {leaf7_ebx, 8, "bmi2", true},
    {leaf7_ebx, 9, "erms", true}, {leaf7_ebx, 10, "invpcid", false}, {leaf7_ebx, 11, "rtm", false},
    {leaf7_ebx, 14, "mpx", true}, {leaf7_ebx, 16, "avx512f", false}, {leaf7_ebx, 17, "avx512dq", false},
    {leaf7_ebx, 18, "rdseed", true}, {leaf7_ebx, 19, "adx", true}, {leaf7_ebx, 20, "smap", true},
    {leaf7_ebx, 21, "avx512ifma", false}, {leaf7_ebx, 23, "clflushopt", true},
    {leaf7_ebx, 24, "clwb", true}, {leaf7_ebx, 26, "avx512pf", false}, {leaf7_ebx, 27, "avx512er", false},
    {leaf7_ebx, 28, "avx512cd", false}, {leaf7_ebx, 29, "sha-ni", true}, {leaf7_ebx, 30, "avx512bw", false},
    {leaf7_ebx, 31, "avx512vl", false}, {leaf7_ecx, 1, "avx512vbmi", false}, {leaf7_ecx, 2, "umip", true},
    {leaf7_ecx, 3, "pku", true}, {leaf7_ecx, 5, "waitpkg", false}, {leaf7_ecx, 6, "avx512vbmi2", false},
    {leaf7_ecx, 8, "gfni", false}, {leaf7_ecx, 9, "vaes", true}, {leaf7_ecx, 10, "vpclmulqdq", true},
    {leaf7_ecx, 11, "avx512vnni", false}, {leaf7_ecx, 12, "avx512bitalg", false},
    {leaf7_ecx, 14, "avx512-vpopcntdq", false}, {leaf7_ecx, 16, "la57", true},
    {leaf7_ecx, 22, "rdpid", true}, {leaf7_ecx, 24, "bus-lock-detect", false},
    {leaf7_ecx, 25, "cldemote", false}, {leaf7_ecx, 27, "movdiri", false},
    {leaf7_ecx, 28, "movdir64b", false}, {leaf7_ecx, 31, "pks", true},
    {leaf7_edx, 2, "avx512-4vnniw", false}, {leaf7_edx, 3, "avx512-4fmaps", false},
    {leaf7_edx, 4, "fsrm", true}, {leaf7_edx, 8, "avx512-vp2intersect", false},
    {leaf7_edx, 10, "md-clear", false}, {leaf7_edx, 14, "serialize", false},
    {leaf7_edx, 16, "tsx-ldtrk", false}, {leaf7_edx, 19, "arch-lbr", false},
    {leaf7_edx, 22, "amx-bf16", false}, {leaf7_edx, 23, "avx512-fp16", false},
    {leaf7_edx, 24, "amx-tile", false}, {leaf7_edx, 25, "amx-int8", false},
    {leaf7_edx, 26, "spec-ctrl", false}, {leaf7_edx, 27, "stibp", false},
    {leaf7_edx, 29, "arch-capabilities", false}, {leaf7_edx, 31, "ssbd", false},
    {leaf7_1_eax, 4, "avx-vnni", false}, {leaf7_1_eax, 5, "avx512-bf16", false},
    {xsave_eax, 0, "xsaveopt", true}, {xsave_eax, 1, "xsavec", true}, {xsave_eax, 2, "xgetbv1", true},
    {xsave_eax, 3, "xsaves", false}, {xsave_eax, 4, "xfd", false}, {ext1_ecx, 0, "lahf-lm", true},
    {ext1_ecx, 2, "svm", true}, {ext1_ecx, 4, "cr8legacy", true}, {ext1_ecx, 5, "abm", true},
    {ext1_ecx, 6, "sse4a", true}, {ext1_ecx, 7, "misalignsse", true}, {ext1_ecx, 8, "3dnowprefetch", true},
    {ext1_ecx, 11, "xop", false}, {ext1_ecx, 16, "fma4", false}, {ext1_ecx, 17, "tce", false},
    {ext1_ecx, 21, "tbm", false}, {ext1_edx, 11, "syscall", true}, {ext1_edx, 20, "nx", true},
    {ext1_edx, 22, "mmxext", true}, {ext1_edx, 25, "fxsr-opt", false}, {ext1_edx, 26, "pdpe1gb", true},
    {ext1_edx, 27, "rdtscp", true}, {ext1_edx, 30, "3dnowext", true}, {ext1_edx, 31, "3dnow", true},
    {ext8_ebx, 0, "clzero", true}, {ext8_ebx, 2, "xsaveerptr", true}, {ext8_ebx, 9, "wbnoinvd", true},
    {ext8_ebx, 12, "ibpb", false}, {ext8_ebx, 14, "ibrs", false}, {ext8_ebx, 15, "amd-stibp", false},
    {ext8_ebx, 24, "amd-ssbd", false}, {ext8_ebx, 25, "virt-ssbd", false},
    {ext8_ebx, 26, "amd-no-ssb", false},
};
// clang-format on

struct Dispensable {
    CpuidWord word;
    unsigned bit;
    std::string_view why;
};
constexpr std::string_view hint = "a hint: no instruction and no state behind it";
constexpr std::string_view topology = "describes topology, which the plan sets by itself";
constexpr std::string_view lapic_records = "whether the guest uses it is judged from its LAPIC records";
constexpr std::string_view platform = "set by the CPU itself while it runs";
constexpr std::string_view thermal = "a report on power and heat that Xen's guests do not get";

constexpr Dispensable dispensables[] = {
    {leaf1_ecx, 21, lapic_records},  // x2APIC: Xen offers it to every guest
    {leaf1_ecx, 24, lapic_records},  // TSC deadline timer
    {leaf1_ecx, 27, platform},       // OSXSAVE mirrors CR4
    {leaf1_ecx, 31, platform},       // hypervisor present
    {leaf1_edx, 9, platform},        // APIC enabled, mirrors the APIC base MSR
    {leaf1_edx, 22, thermal},        // ACPI: clock modulation by MSR, which Xen has for no HVM guest
    {leaf1_edx, 28, topology},       // HTT
    {leaf6_eax, 2, hint},            // ARAT: the timer keeps running in C states
    {leaf6_eax, 0, thermal},
    {leaf6_eax, 1, thermal},
    {leaf7_ebx, 6, hint},   // FDP_EXCPTN_ONLY
    {leaf7_ebx, 9, hint},   // ERMS
    {leaf7_ebx, 13, hint},  // FPU CS and DS deprecated
    {leaf7_ebx, 22, "PCOMMIT, which TCG once showed and no CPU ever had"},
    {leaf7_ecx, 4, platform},  // OSPKE mirrors CR4
    {leaf7_edx, 4, hint},      // FSRM
    {leaf7_edx, 10, hint},     // MD_CLEAR: VERW exists on every CPU
    {leaf7_1_eax, 10, hint},   // fast zero-length REP MOVSB
    {leaf7_1_eax, 11, hint},   // fast short REP STOSB
    {leaf7_1_eax, 12, hint},   // fast short REP CMPSB, SCASB
    {ext1_ecx, 1, topology},   // CMP_LEGACY
    {ext1_ecx, 22, topology},  // topology extensions
    {ext8_ebx, 13, hint},      // INT_WBINVD
    {ext8_ebx, 16, hint},      // IBRS always on
    {ext8_ebx, 17, hint},      // STIBP always on
    {ext8_ebx, 18, hint},      // IBRS preferred
    {ext8_ebx, 19, hint},      // IBRS same mode
    {ext8_ebx, 20, hint},      // EFER.LMSLE unsupported
    {ext8_ebx, 26, hint},      // SSB_NO
    {ext8_ebx, 29, hint},      // BTC_NO
    {ext8_ebx, 30, hint},      // IBPB also clears return predictions
    {ext21_eax, 0, hint},      // no nested data breakpoints
    {ext21_eax, 2, hint},      // LFENCE serialises
    {ext21_eax, 6, hint},      // null selector clears base
    {ext21_eax, 9, hint},      // no SMM_CTL MSR
};

}  // namespace

std::span<const CpuidWord> feature_words() {
    return words;
}

std::span<const NamedFeature> named_features() {
    return names;
}

std::string feature_name(const CpuidWord& word, unsigned bit) {
    const auto found =
        std::ranges::find_if(names, [&](const NamedFeature& f) { return f.word == word && f.bit == bit; });
    if (found != std::end(names)) return std::string(found->name);
    constexpr std::array registers{"EAX", "EBX", "ECX", "EDX"};
    const auto* reg = registers[static_cast<std::size_t>(word.reg)];
    if (word.leaf == 7 || word.leaf == 0xD)
        return fmt::format("CPUID {:#x}.{} {} bit {}", word.leaf, word.subleaf, reg, bit);
    return fmt::format("CPUID {:#x} {} bit {}", word.leaf, reg, bit);
}

std::string_view dispensable(const CpuidWord& word, unsigned bit) {
    const auto found = std::ranges::find_if(
        dispensables, [&](const Dispensable& d) { return d.word == word && d.bit == bit; });
    return found == std::end(dispensables) ? std::string_view{} : found->why;
}

}  // namespace vmferry
