// A recorded Xen guest, a recorded twin and a plan: the inputs of translate_to_qemu, to be varied.
#pragma once

#include <random>
#include <string>

#include "parsers/qemu/snapshot.hpp"
#include "translators/audit.hpp"
#include "translators/plan.hpp"
#include "translators/to_qemu.hpp"
#include "translators/xen_source.hpp"

namespace vmferry::test {

/// A file of captures/, decompressed.
[[nodiscard]] Buffer load_capture(const std::string& name);
[[nodiscard]] qemu::Snapshot load_twin(const std::string& name);
/// Everything but the pages of a recorded migration.
[[nodiscard]] XenSource load_source(const std::string& name);

/// The Linux guest of captures/xen-4.17-… on its way to TCG; each test changes what it is about.
struct Crossing {
    XenSource source;
    Plan plan;
    qemu::Snapshot twin;
    AuditReport audit;
    static constexpr std::uint64_t realtime_ns = 1'700'000'000'250'000'000;

    explicit Crossing(Accel accel = Accel::tcg);

    /// Precondition of the test: there is such a record.
    template <typename Body>
    [[nodiscard]] Body& record(std::uint16_t instance = 0) {
        return const_cast<Body&>(*xen::find_record<Body>(source.context, instance));
    }
    template <typename Body>
    void remove(std::uint16_t instance = 0) {
        std::erase_if(source.context, [instance](const xen::HvmRecord& entry) {
            return entry.instance == instance && std::holds_alternative<Body>(entry.body);
        });
    }
    void add(std::uint16_t typecode, std::uint16_t instance, xen::HvmBody body);

    [[nodiscard]] Result<QemuImage> run();
    /// Precondition of the test: it succeeds.
    [[nodiscard]] QemuImage good();
    [[nodiscard]] bool refused(std::string_view rule) const;
    [[nodiscard]] bool reported(Verdict verdict, std::string_view subject) const;
};

/// Value of a field; the test fails if there is none.
[[nodiscard]] std::uint64_t value(const qemu::DeviceTree& tree, std::string_view section,
                                  std::string_view path, std::uint32_t instance = 0);
[[nodiscard]] std::int64_t signed_value(const qemu::DeviceTree& tree, std::string_view section,
                                        std::string_view path, std::uint32_t instance = 0);

/// Configuration space of a PCI section.
[[nodiscard]] Bytes config_space(const qemu::DeviceTree& tree, std::string_view idstr);
[[nodiscard]] std::span<std::byte> config_space(qemu::DeviceTree& tree, std::string_view idstr);
/// Asserts INTA# of a PCI section's device.
void assert_interrupt(qemu::DeviceTree& tree, std::string_view idstr);

/// Same bytes in every run.
void fill_random(std::span<std::byte> bytes, std::mt19937_64& random);

}  // namespace vmferry::test
