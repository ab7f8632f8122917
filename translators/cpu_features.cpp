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

// Found by switching each name on in QEMU 7.2 and reading its feature words back.
// clang-format off
constexpr NamedFeature names[] = {
    {leaf1_ecx, 0, "pni"}, {leaf1_ecx, 1, "pclmulqdq"}, {leaf1_ecx, 3, "monitor"}, {leaf1_ecx, 5, "vmx"},
    {leaf1_ecx, 9, "ssse3"}, {leaf1_ecx, 12, "fma"}, {leaf1_ecx, 13, "cx16"}, {leaf1_ecx, 17, "pcid"},
    {leaf1_ecx, 19, "sse4.1"}, {leaf1_ecx, 20, "sse4.2"}, {leaf1_ecx, 21, "x2apic"},
    {leaf1_ecx, 22, "movbe"}, {leaf1_ecx, 23, "popcnt"}, {leaf1_ecx, 24, "tsc-deadline"},
    {leaf1_ecx, 25, "aes"}, {leaf1_ecx, 26, "xsave"}, {leaf1_ecx, 28, "avx"}, {leaf1_ecx, 29, "f16c"},
    {leaf1_ecx, 30, "rdrand"}, {leaf1_edx, 1, "vme"}, {leaf1_edx, 2, "de"}, {leaf1_edx, 3, "pse"},
    {leaf1_edx, 6, "pae"}, {leaf1_edx, 7, "mce"}, {leaf1_edx, 8, "cx8"}, {leaf1_edx, 11, "sep"},
    {leaf1_edx, 12, "mtrr"}, {leaf1_edx, 13, "pge"}, {leaf1_edx, 14, "mca"}, {leaf1_edx, 15, "cmov"},
    {leaf1_edx, 16, "pat"}, {leaf1_edx, 17, "pse36"}, {leaf1_edx, 19, "clflush"}, {leaf1_edx, 23, "mmx"},
    {leaf1_edx, 24, "fxsr"}, {leaf1_edx, 25, "sse"}, {leaf1_edx, 26, "sse2"}, {leaf6_eax, 2, "arat"},
    {leaf7_ebx, 0, "fsgsbase"}, {leaf7_ebx, 1, "tsc-adjust"}, {leaf7_ebx, 3, "bmi1"}, {leaf7_ebx, 4, "hle"},
    {leaf7_ebx, 5, "avx2"}, {leaf7_ebx, 7, "smep"}, {leaf7_ebx, 8, "bmi2"}, {leaf7_ebx, 9, "erms"},
    {leaf7_ebx, 10, "invpcid"}, {leaf7_ebx, 11, "rtm"}, {leaf7_ebx, 14, "mpx"}, {leaf7_ebx, 16, "avx512f"},
    {leaf7_ebx, 17, "avx512dq"}, {leaf7_ebx, 18, "rdseed"}, {leaf7_ebx, 19, "adx"}, {leaf7_ebx, 20, "smap"},
    {leaf7_ebx, 21, "avx512ifma"}, {leaf7_ebx, 23, "clflushopt"}, {leaf7_ebx, 24, "clwb"},
    {leaf7_ebx, 26, "avx512pf"}, {leaf7_ebx, 27, "avx512er"}, {leaf7_ebx, 28, "avx512cd"},
    {leaf7_ebx, 29, "sha-ni"}, {leaf7_ebx, 30, "avx512bw"}, {leaf7_ebx, 31, "avx512vl"},
    {leaf7_ecx, 1, "avx512vbmi"}, {leaf7_ecx, 2, "umip"}, {leaf7_ecx, 3, "pku"}, {leaf7_ecx, 5, "waitpkg"},
    {leaf7_ecx, 6, "avx512vbmi2"}, {leaf7_ecx, 8, "gfni"}, {leaf7_ecx, 9, "vaes"},
    {leaf7_ecx, 10, "vpclmulqdq"}, {leaf7_ecx, 11, "avx512vnni"}, {leaf7_ecx, 12, "avx512bitalg"},
    {leaf7_ecx, 14, "avx512-vpopcntdq"}, {leaf7_ecx, 16, "la57"}, {leaf7_ecx, 22, "rdpid"},
    {leaf7_ecx, 24, "bus-lock-detect"}, {leaf7_ecx, 25, "cldemote"}, {leaf7_ecx, 27, "movdiri"},
    {leaf7_ecx, 28, "movdir64b"}, {leaf7_ecx, 31, "pks"}, {leaf7_edx, 2, "avx512-4vnniw"},
    {leaf7_edx, 3, "avx512-4fmaps"}, {leaf7_edx, 4, "fsrm"}, {leaf7_edx, 8, "avx512-vp2intersect"},
    {leaf7_edx, 10, "md-clear"}, {leaf7_edx, 14, "serialize"}, {leaf7_edx, 16, "tsx-ldtrk"},
    {leaf7_edx, 19, "arch-lbr"}, {leaf7_edx, 22, "amx-bf16"}, {leaf7_edx, 23, "avx512-fp16"},
    {leaf7_edx, 24, "amx-tile"}, {leaf7_edx, 25, "amx-int8"}, {leaf7_edx, 26, "spec-ctrl"},
    {leaf7_edx, 27, "stibp"}, {leaf7_edx, 29, "arch-capabilities"}, {leaf7_edx, 31, "ssbd"},
    {leaf7_1_eax, 4, "avx-vnni"}, {leaf7_1_eax, 5, "avx512-bf16"}, {xsave_eax, 0, "xsaveopt"},
    {xsave_eax, 1, "xsavec"}, {xsave_eax, 2, "xgetbv1"}, {xsave_eax, 3, "xsaves"}, {xsave_eax, 4, "xfd"},
    {ext1_ecx, 0, "lahf-lm"}, {ext1_ecx, 2, "svm"}, {ext1_ecx, 4, "cr8legacy"}, {ext1_ecx, 5, "abm"},
    {ext1_ecx, 6, "sse4a"}, {ext1_ecx, 7, "misalignsse"}, {ext1_ecx, 8, "3dnowprefetch"},
    {ext1_ecx, 11, "xop"}, {ext1_ecx, 16, "fma4"}, {ext1_ecx, 17, "tce"}, {ext1_ecx, 21, "tbm"},
    {ext1_edx, 11, "syscall"}, {ext1_edx, 20, "nx"}, {ext1_edx, 22, "mmxext"}, {ext1_edx, 25, "fxsr-opt"},
    {ext1_edx, 26, "pdpe1gb"}, {ext1_edx, 27, "rdtscp"}, {ext1_edx, 30, "3dnowext"},
    {ext1_edx, 31, "3dnow"}, {ext8_ebx, 0, "clzero"}, {ext8_ebx, 2, "xsaveerptr"},
    {ext8_ebx, 9, "wbnoinvd"}, {ext8_ebx, 12, "ibpb"}, {ext8_ebx, 14, "ibrs"}, {ext8_ebx, 15, "amd-stibp"},
    {ext8_ebx, 24, "amd-ssbd"}, {ext8_ebx, 25, "virt-ssbd"}, {ext8_ebx, 26, "amd-no-ssb"},
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
    {leaf1_edx, 28, topology},       // HTT
    {leaf6_eax, 2, hint},            // ARAT: the timer keeps running in C states
    {leaf6_eax, 0, thermal},        {leaf6_eax, 1, thermal}, {leaf7_ebx, 6, hint},  // FDP_EXCPTN_ONLY
    {leaf7_ebx, 9, hint},                                                           // ERMS
    {leaf7_ebx, 13, hint},     // FPU CS and DS deprecated
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
