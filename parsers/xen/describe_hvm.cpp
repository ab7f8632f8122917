#include <algorithm>

#include "parsers/wire/place.hpp"
#include "parsers/xen/describe.hpp"
#include "parsers/xen/hvm_fields.hpp"
#include "parsers/xen/hvm_layout.hpp"

namespace vmferry::xen {

namespace {

std::string hex_digits(Bytes bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (const auto byte : bytes)
        fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(byte));
    return text;
}

std::uint64_t load_number(Bytes bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
}

Field number_field(const FieldSpec& spec, Bytes bytes) {
    Field field{.name = spec.name, .kind = Field::Kind::number};
    auto value = load_number(bytes);
    if (spec.width != 0) {
        value = value >> spec.bit & ((std::uint64_t{1} << spec.width) - 1);
        field.bit = spec.bit;
        field.width = spec.width;
    }
    field.number = value;
    switch (spec.show) {
        case Show::decimal:
            field.text = std::to_string(value);
            break;
        case Show::signed_decimal:
            field.text = std::to_string(static_cast<std::int64_t>(value));
            break;
        default:
            field.text = hex(value);
            break;
    }
    return field;
}

std::vector<Field> fields_of(std::span<const FieldSpec> specs, Bytes bytes, std::size_t base);

/// One element: a structure, a number, or bytes.
Field element_field(const FieldSpec& spec, Bytes bytes, std::size_t at) {
    Field field;
    if (!spec.element.empty()) {
        field = {.name = spec.name, .kind = Field::Kind::group};
        field.fields = fields_of(spec.element, bytes, at);
    } else if (spec.show == Show::bytes || bytes.size() > 8) {
        field = {.name = spec.name, .text = hex_digits(bytes)};
    } else {
        field = number_field(spec, bytes);
    }
    field.reserved = spec.show == Show::reserved;
    field.at = at;
    field.size = bytes.size();
    return field;
}

std::vector<Field> fields_of(std::span<const FieldSpec> specs, Bytes bytes, std::size_t base) {
    std::vector<Field> fields;
    for (const auto& spec : specs) {
        const std::size_t total = std::size_t{spec.size} * spec.count;
        if (spec.at + total > bytes.size()) continue;
        if (spec.count == 1) {
            fields.push_back(element_field(spec, bytes.subspan(spec.at, spec.size), base + spec.at));
            continue;
        }
        Field array{.name = spec.name, .kind = Field::Kind::group, .at = base + spec.at, .size = total};
        for (std::size_t i = 0; i < spec.count; ++i) {
            const auto at = spec.at + i * spec.size;
            array.fields.push_back(element_field(spec, bytes.subspan(at, spec.size), base + at));
            array.fields.back().name = fmt::format("[{}]", i);
        }
        fields.push_back(std::move(array));
    }
    return fields;
}

/// What follows the fixed part of CPU_XSAVE.
void add_xsave_components(std::vector<Field>& fields, const CpuXsave& xsave, Bytes body) {
    constexpr std::size_t ymm_size = 256;
    constexpr std::uint64_t ymm = 4;
    auto at = xsave_head_size + xsave_legacy_size + xsave_header_size;
    if ((xsave.xcr0_accum & ymm) != 0 && body.size() >= at + ymm_size) {
        auto components = fields_of(xsave_ymm_specs(), body.subspan(at, ymm_size), at);
        std::ranges::move(components, std::back_inserter(fields));
        at += ymm_size;
    }
    if (body.size() > at)
        fields.push_back(
            {.name = "components", .text = hex_digits(body.subspan(at)), .at = at, .size = body.size() - at});
}

void add_msrs(std::vector<Field>& fields, Bytes body) {
    Field list{
        .name = "msr", .kind = Field::Kind::group, .at = msr_head_size, .size = body.size() - msr_head_size};
    for (std::size_t at = msr_head_size; at < body.size(); at += msr_entry_size) {
        Field entry{.name = fmt::format("[{}]", list.fields.size()),
                    .kind = Field::Kind::group,
                    .at = at,
                    .size = msr_entry_size};
        entry.fields = fields_of(msr_entry_specs(), body.subspan(at, msr_entry_size), at);
        list.fields.push_back(std::move(entry));
    }
    fields.push_back(std::move(list));
}

}  // namespace

Description describe(const HvmRecord& record) {
    const auto type = HvmType{record.typecode};
    Description description{"HVM_CONTEXT", hvm_record_name(record.typecode), {}};

    // Places are those of the current structure, so the body is written in its current length …
    auto current = record;
    current.length = std::holds_alternative<Lapic>(record.body) ? lapic_length_with_esr : 0;
    Buffer buffer;
    append_hvm_body(buffer, current);
    // … and cut to what was there.
    Bytes body(buffer);
    const bool oldest_cpu = type == HvmType::cpu && record.length == cpu_length_before_3_4;
    if (oldest_cpu)
        body = body.first(cpu_length_before_4_7);
    else if (record.length > 0 && record.length < body.size())
        body = body.first(record.length);

    description.fields = fields_of(hvm_field_specs(type), body, 0);
    if (oldest_cpu) std::erase_if(description.fields, [](const Field& f) { return f.name == "msr_tsc_aux"; });
    if (const auto* xsave = std::get_if<CpuXsave>(&record.body))
        add_xsave_components(description.fields, *xsave, body);
    if (type == HvmType::cpu_msr) add_msrs(description.fields, body);
    return description;
}

}  // namespace vmferry::xen
