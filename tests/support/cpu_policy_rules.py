"""Whether a Xen host takes a domain's CPU policy (X86_CPUID_POLICY, X86_MSR_POLICY), given another policy that was made
there: a template, or a stream of the same host."""
from hvm_rules import Policy, Violation

RULES = {
    "policy-leaves": "x86_cpu_policies_are_compatible(): the highest leaf of each range is not above the host's",
    "policy-vendor": "x86_cpu_policies_are_compatible() since 4.22: the host's vendor",
    "policy-features": "a feature that the host's processor lacks cannot be used there",
    "policy-known": "x86_cpuid_copy_from_buffer(): no leaf that Xen does not know",
    "policy-msr": "x86_msr_copy_from_buffer(): PLATFORM_INFO and ARCH_CAPABILITIES only, flags zero; PLATFORM_INFO within the host's",
}
PLATFORM_INFO, ARCH_CAPABILITIES = 0xCE, 0x10A
# Registers full of features: (leaf, subleaf, register).
FEATURES = ((1, 0, "ecx"), (1, 0, "edx"), (7, 0, "ebx"), (7, 0, "ecx"), (7, 0, "edx"), (0xD, 0, "eax"), (0xD, 1, "eax"),
            (0x80000001, 0, "ecx"), (0x80000001, 0, "edx"), (0x80000008, 0, "ebx"))
HIGHEST = ((0, "basic"), (7, "features"), (0x80000000, "extended"))


def check(cpuid, msrs, host_cpuid, host_msrs):
    """Every Violation(rule, record, text)."""
    own, host, violations = Policy(cpuid), Policy(host_cpuid), []

    def expect(rule, condition, text):
        if not condition:
            violations.append(Violation(rule, "policy", text))

    for leaf, name in HIGHEST:
        expect("policy-leaves", own(leaf, "eax") <= host(leaf, "eax"), f"{name}: {own(leaf, 'eax'):#x}, the host {host(leaf, 'eax'):#x}")
    for register in ("ebx", "ecx", "edx"):
        expect("policy-vendor", own(0, register) == host(0, register), f"{register} {own(0, register):#x}")
    for leaf, subleaf, register in FEATURES:
        more = own(leaf, register, subleaf) & ~host(leaf, register, subleaf)
        expect("policy-features", not more, f"leaf {leaf:#x}.{subleaf} {register}: {more:#x}")
    for leaf, subleaf in own.rows:
        expect("policy-known", (leaf, subleaf) in host.rows, f"leaf {leaf:#x}.{subleaf}")
    host_values = {index: value for index, _, value in host_msrs}
    for index, flags, value in msrs:
        expect("policy-msr", index in (PLATFORM_INFO, ARCH_CAPABILITIES) and flags == 0, f"MSR {index:#x}, flags {flags:#x}")
        expect("policy-msr", index != PLATFORM_INFO or not value & ~host_values.get(index, 0), f"PLATFORM_INFO {value:#x}")
    return violations
