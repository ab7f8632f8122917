#include "tests/translators/machine_fixture.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <zstd.h>

#include "parsers/xen/record_header.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "parsers/xen/xl_header.hpp"
#include "tests/error_text.hpp"
#include "tests/translators/plan_fixture.hpp"

namespace vmferry::test {
namespace {

void collect(XenSource& source, const xen::Record& record, std::uint64_t offset) {
    if (const auto* header = std::get_if<xen::XlHeader>(&record)) {
        auto config = read_domain_config(header->config, offset + xen::xl_config_at);
        REQUIRE(config);
        source.config = std::move(*config);
    } else if (const auto* domain = std::get_if<xen::DomainHeader>(&record)) {
        source.xen_major = domain->xen_major;
        source.xen_minor = domain->xen_minor;
    } else if (const auto* cpuid = std::get_if<xen::CpuidPolicyRecord>(&record)) {
        source.cpuid = cpuid->leaves;
    } else if (const auto* params = std::get_if<xen::HvmParams>(&record)) {
        source.params = params->params;
    } else if (const auto* context = std::get_if<xen::HvmContextRecord>(&record)) {
        auto records = xen::read_hvm_context(context->blob, offset + xen::RecordHeader::size);
        REQUIRE(records);
        source.context = std::move(*records);
    } else if (const auto* emulator = std::get_if<xen::EmulatorContext>(&record)) {
        auto tree = qemu::read_device_model(emulator->blob, offset + 2 * xen::RecordHeader::size);
        REQUIRE_MESSAGE(tree, test::error_text(tree));
        source.device_model = std::move(*tree);
    }
}

}  // namespace

Buffer load_capture(const std::string& name) {
    std::ifstream file(fmt::format(VMFERRY_SOURCE_DIR "/captures/{}", name), std::ios::binary);
    REQUIRE_MESSAGE(file, name);
    const std::string packed((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    Buffer out, chunk(1u << 20);
    auto* stream = ZSTD_createDStream();
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    while (true) {
        ZSTD_outBuffer piece{chunk.data(), chunk.size(), 0};
        const auto left = ZSTD_decompressStream(stream, &piece, &in);
        REQUIRE(!ZSTD_isError(left));
        append(out, Bytes(chunk.data(), piece.pos));
        if (left == 0 || (in.pos == in.size && piece.pos < chunk.size())) break;
    }
    ZSTD_freeDStream(stream);
    return out;
}

qemu::Snapshot load_twin(const std::string& name) {
    auto snapshot = qemu::read_snapshot(load_capture(name));
    REQUIRE_MESSAGE(snapshot, test::error_text(snapshot));
    return std::move(*snapshot);
}

XenSource load_source(const std::string& name) {
    const auto bytes = load_capture(name);
    XenSource source;
    xen::StreamReader reader;
    std::size_t at = 0;
    while (true) {
        const auto offset = reader.offset();
        auto step = reader.next(Bytes(bytes).subspan(at));
        REQUIRE_MESSAGE(step, test::error_text(step));
        REQUIRE(step->need == 0);
        if (step->event && std::holds_alternative<xen::StreamEnd>(*step->event)) return source;
        if (step->event) collect(source, *step->event, offset);
        at += step->consumed;
    }
}

Crossing::Crossing(Accel accel) {
    static const auto recorded = load_source("xen-4.17-trimmed.up.zst");
    static const auto tcg = load_twin("twins/tcg-7.2-2vcpu-cirrus-e1000-ide.zst");
    static const auto kvm = load_twin("twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst");
    static const auto planned = PlanCase().good();
    source = recorded;
    plan = planned;
    plan.accel = accel;
    if (accel == Accel::kvm) plan.fillers.clear();
    twin = accel == Accel::kvm ? kvm : tcg;
}

void Crossing::add(std::uint16_t typecode, std::uint16_t instance, xen::HvmBody body) {
    source.context.push_back(
        {.typecode = typecode, .instance = instance, .length = 0, .offset = 0, .body = std::move(body)});
}

Result<QemuImage> Crossing::run() {
    return translate_to_qemu(source, plan, twin, realtime_ns, audit);
}

QemuImage Crossing::good() {
    auto image = run();
    REQUIRE_MESSAGE(image, test::error_text(image));
    return std::move(*image);
}

bool Crossing::refused(std::string_view rule) const {
    return reported(Verdict::refused, rule);
}

bool Crossing::reported(Verdict verdict, std::string_view subject) const {
    return std::ranges::any_of(audit.findings(), [&](const Finding& finding) {
        return finding.verdict == verdict && finding.rule == subject;
    });
}

std::uint64_t value(const qemu::DeviceTree& tree, std::string_view section, std::string_view path,
                    std::uint32_t instance) {
    const auto* found = tree.find(section, instance);
    REQUIRE_MESSAGE(found, section);
    const auto result = found->get(path);
    REQUIRE_MESSAGE(result, path);
    return *result;
}

std::int64_t signed_value(const qemu::DeviceTree& tree, std::string_view section, std::string_view path,
                          std::uint32_t instance) {
    const auto* found = tree.find(section, instance);
    REQUIRE_MESSAGE(found, section);
    const auto result = found->get_signed(path);
    REQUIRE_MESSAGE(result, path);
    return *result;
}

Bytes config_space(const qemu::DeviceTree& tree, std::string_view idstr) {
    return config_space(const_cast<qemu::DeviceTree&>(tree), idstr);
}

std::span<std::byte> config_space(qemu::DeviceTree& tree, std::string_view idstr) {
    auto* section = tree.find(idstr);
    REQUIRE_MESSAGE(section, idstr);
    auto* field = section->find(section->root.fields.front().name + "|config[0]");
    REQUIRE(field);
    return field->data;
}

void assert_interrupt(qemu::DeviceTree& tree, std::string_view idstr) {
    auto* section = tree.find(idstr);
    REQUIRE_MESSAGE(section, idstr);
    auto* field = section->find(section->root.fields.front().name + "|irq_state");
    REQUIRE(field);
    field->data[3] = std::byte{1};
}

void fill_random(std::span<std::byte> bytes, std::mt19937_64& random) {
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
}

}  // namespace vmferry::test
