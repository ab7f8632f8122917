#include "domain.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/hvm/params.h>

namespace oracle {

namespace {

constexpr std::uint64_t frame_4g = 1 << 20;
constexpr std::uint64_t vga_hole = 0xA0, vga_hole_end = 0xC0;
/// The special pages end here, and with them what a guest without OVMF has below 4 GiB.
constexpr std::uint64_t special_end = 0xFF000;
constexpr std::uint64_t ioapic = 0xFEC00, hpet = 0xFED00, lapic = 0xFEE00;
/// libxl lets a domain have a little more than its memory (LIBXL_MAXMEM_CONSTANT).
constexpr std::uint64_t slack_kib = 1024;
/// Frames that the memory's file has room for, above the domain's highest.
constexpr std::uint64_t room = 1024;
constexpr std::size_t violations_limit = 200;

std::uint64_t kib(const nlohmann::json& build, const char* name, std::uint64_t otherwise) {
    return build.contains(name) ? build.at(name).get<std::uint64_t>() : otherwise;
}

void* must_map(void* at, std::size_t bytes, int flags, int file, std::uint64_t offset) {
    auto* address = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, file, static_cast<off_t>(offset));
    if (address == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    return address;
}

/// XEN_DOMCTL names none of these; hvm_set_param() refuses them.
bool is_deprecated(std::uint32_t index) {
    return index == 13 || (index >= 20 && index <= 26) || index == 30;
}

/// Set once.
bool is_final(std::uint32_t index) {
    return index == HVM_PARAM_VIRIDIAN || index == HVM_PARAM_IOREQ_PFN || index == HVM_PARAM_BUFIOREQ_PFN ||
           index == HVM_PARAM_IOREQ_SERVER_PFN || index == HVM_PARAM_NR_IOREQ_SERVER_PAGES ||
           index == HVM_PARAM_MCA_CAP;
}

bool is_value_allowed(std::uint32_t index, std::uint64_t value) {
    switch (index) {
        case HVM_PARAM_VIRIDIAN:
            return (value & 1) != 0;
        case HVM_PARAM_ACPI_IOPORTS_LOCATION:
            return value <= 1;
        case HVM_PARAM_X87_FIP_WIDTH:
            return value == 0 || value == 4 || value == 8;
        case HVM_PARAM_MCA_CAP:
            return value <= 1;
        // Size above the address: at least a TSS without an I/O bitmap.
        case HVM_PARAM_VM86_TSS_SIZED:
            return value >> 32 >= 104;
        default:
            return true;
    }
}

}  // namespace

Limits::Limits(const nlohmann::json& config) {
    const auto& build = config.at("b_info");
    const auto max = kib(build, "max_memkb", 0), video = kib(build, "video_memkb", 0);
    const auto& hvm = build.at("type.hvm");
    // libxl: 256 MiB below 4 GiB, unless more is configured.
    const auto hole = std::max<std::uint64_t>(kib(hvm, "mmio_hole_memkb", 0), 256 << 10) / 4;
    ram_frames = (max - std::min(max, video)) / 4;
    low_end = std::min(ram_frames, frame_4g - hole);
    high_end = ram_frames > low_end ? frame_4g + ram_frames - low_end : 0;
    frames = (kib(build, "target_memkb", max) + slack_kib) / 4;
    vcpus = build.value("max_vcpus", 1U);
}

Domain::Domain(const Limits& limits, const std::string& memory_path)
    : limits_(limits), frames_(std::max(frame_4g, limits.high_end) + room) {
    file_ = open(memory_path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file_ < 0 || ftruncate(file_, static_cast<off_t>(frames_.size() * page_bytes)) != 0)
        throw std::system_error(errno, std::generic_category(), memory_path);
}

Domain::~Domain() {
    close(file_);
}

void Domain::violation(std::string text) {
    if (violations_.size() < violations_limit) violations_.push_back(std::move(text));
}

void Domain::judge_frame(std::uint64_t gfn) {
    const auto refuse = [&](const char* why) { violation(fmt::format("frame {:#x}: {}", gfn, why)); };
    if (gfn >= vga_hole && gfn < vga_hole_end) refuse("memory in the VGA hole");
    if (gfn == ioapic || gfn == hpet || gfn == lapic)
        refuse("memory where Xen has an interrupt controller or the HPET");
    if (gfn >= special_end && gfn < frame_4g) refuse("memory behind the special pages");
    if (gfn >= frame_4g && gfn >= limits_.high_end) refuse("memory behind the end of what was configured");
}

bool Domain::populate(std::uint64_t gfn) {
    if (gfn >= frames_.size()) {
        violation(fmt::format("frame {:#x}: far behind the end of its memory", gfn));
        return false;
    }
    judge_frame(gfn);
    if (frames_[gfn].populated) {
        violation(fmt::format("frame {:#x}: populated twice", gfn));
        return false;
    }
    if (populated_ == limits_.frames) {
        violation(fmt::format("frame {:#x}: more than the {} frames that Xen lets it have", gfn, populated_));
        return false;
    }
    frames_[gfn].populated = true;
    populated_++;
    return true;
}

void* Domain::map(const std::uint64_t* gfns, std::size_t count, int* errors) {
    auto* base = static_cast<std::byte*>(
        must_map(nullptr, count * page_bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (std::size_t i = 0; i < count;) {
        if (!is_populated(gfns[i])) {
            violation(fmt::format("frame {:#x}: written before it was populated", gfns[i]));
            if (errors != nullptr) errors[i] = -EINVAL;
            i++;
            continue;
        }
        // One mapping for as many as are next to each other.
        std::size_t run = 0;
        do {
            frames_[gfns[i + run]].writes++;
            if (errors != nullptr) errors[i + run] = 0;
            run++;
        } while (i + run < count && gfns[i + run] == gfns[i] + run && is_populated(gfns[i + run]));
        must_map(base + i * page_bytes, run * page_bytes, MAP_SHARED | MAP_FIXED, file_,
                 gfns[i] * page_bytes);
        i += run;
    }
    return base;
}

void Domain::unmap(void* address, std::size_t count) {
    munmap(address, count * page_bytes);
}

bool Domain::clear(std::uint64_t gfn) {
    if (!is_populated(gfn)) {
        // libxc goes on, and the ring that lies there is dead.
        violation(fmt::format("frame {:#x}: a special page that was not populated", gfn));
        return false;
    }
    static constexpr char zeros[page_bytes] = {};
    return pwrite(file_, zeros, page_bytes, static_cast<off_t>(gfn * page_bytes)) == page_bytes;
}

int Domain::set_parameter(std::uint32_t index, std::uint64_t value) {
    const auto refuse = [&](int error, const char* why) {
        violation(fmt::format("HVM parameter {} = {:#x}: {}", index, value, why));
        return error;
    };
    if (index >= HVM_NR_PARAMS) return refuse(EINVAL, "there is no such parameter");
    if (is_deprecated(index)) return refuse(EINVAL, "deprecated");
    if (index == HVM_PARAM_ALTP2M) return refuse(EEXIST, "cannot be set from a stream");
    if (!is_value_allowed(index, value)) return refuse(EINVAL, "not a value that Xen takes");
    const auto before = parameters_.find(index);
    if (before != parameters_.end()) {
        if (is_final(index) && before->second != 0 && before->second != value)
            return refuse(EEXIST, "cannot be changed once it is set");
        violation(fmt::format("HVM parameter {}: set twice", index));
    }
    parameters_[index] = value;
    parameter_order_.emplace_back(index, value);
    return 0;
}

void Domain::judge_the_whole() {
    // Frames that Xen and its tools share with the guest, by the parameter that tells where.
    const std::pair<std::uint32_t, const char*> needed[] = {
        {HVM_PARAM_STORE_PFN, "STORE_PFN"},
        {HVM_PARAM_CONSOLE_PFN, "CONSOLE_PFN"},
        {HVM_PARAM_IOREQ_PFN, "IOREQ_PFN"},
        {HVM_PARAM_BUFIOREQ_PFN, "BUFIOREQ_PFN"},
        {HVM_PARAM_IOREQ_SERVER_PFN, "IOREQ_SERVER_PFN"},
        {HVM_PARAM_NR_IOREQ_SERVER_PAGES, "NR_IOREQ_SERVER_PAGES"}};
    for (const auto& [index, name] : needed)
        if (!parameters_.contains(index))
            violation(fmt::format("HVM parameter {} ({}) is missing", index, name));
    const auto need_frame = [&](std::uint64_t gfn, std::uint32_t index) {
        if (!is_populated(gfn))
            violation(
                fmt::format("frame {:#x}, which HVM parameter {} names, was not populated", gfn, index));
    };
    for (const auto index :
         {HVM_PARAM_STORE_PFN, HVM_PARAM_CONSOLE_PFN, HVM_PARAM_IOREQ_PFN, HVM_PARAM_BUFIOREQ_PFN,
          HVM_PARAM_PAGING_RING_PFN, HVM_PARAM_MONITOR_RING_PFN, HVM_PARAM_SHARING_RING_PFN})
        if (parameters_.contains(index)) need_frame(parameters_[index], index);
    for (const auto index : {HVM_PARAM_IDENT_PT, HVM_PARAM_VM86_TSS_SIZED, HVM_PARAM_VM_GENERATION_ID_ADDR})
        if (parameters_.contains(index)) need_frame((parameters_[index] & 0xFFFFFFFF) / page_bytes, index);
    const auto servers = std::min<std::uint64_t>(parameters_[HVM_PARAM_NR_IOREQ_SERVER_PAGES], 64);
    for (std::uint64_t i = 0; i < servers; i++)
        need_frame(parameters_[HVM_PARAM_IOREQ_SERVER_PFN] + i, HVM_PARAM_IOREQ_SERVER_PFN);

    // libxenguest loads an empty one when there was none.
    if (contexts.size() != 1 || contexts.front().empty())
        violation(fmt::format("{} HVM contexts were loaded, not 1 with content", contexts.size()));
    if (policies != 1) violation(fmt::format("the CPU policy was set {} times, not once", policies));
    if (static_data_missing.value_or(0) != 0)
        violation(fmt::format("static data missing: {:#x} (1 CPUID, 2 MSRs)", *static_data_missing));
    if (!static_data_missing) violation("no STATIC_DATA_END");
    if (!tsc) violation("no X86_TSC_INFO");
    if (!grants) violation("the grant table was not seeded");
}

nlohmann::json Domain::memory_facts(const std::string& pages_path) const {
    std::ofstream pages(pages_path);
    auto ranges = nlohmann::json::array();
    std::uint64_t first = 0, count = 0, writes = 0, zero = 0, unwritten = 0, missing = 0;
    const auto is_ram = [&](std::uint64_t gfn) {
        return gfn < vga_hole || (gfn >= vga_hole_end && gfn < limits_.low_end) ||
               (gfn >= frame_4g && gfn < limits_.high_end);
    };
    const auto flush = [&] {
        if (count != 0) ranges.push_back({first, count});
        count = 0;
    };
    unsigned char content[page_bytes];
    static constexpr unsigned char zeros[page_bytes] = {};
    for (std::uint64_t gfn = 0; gfn < frames_.size(); gfn++) {
        if (!frames_[gfn].populated) {
            flush();
            missing += is_ram(gfn);
            continue;
        }
        if (count++ == 0) first = gfn;
        writes += frames_[gfn].writes;
        unwritten += frames_[gfn].writes == 0;
        if (pread(file_, content, page_bytes, static_cast<off_t>(gfn * page_bytes)) != page_bytes)
            throw std::system_error(errno, std::generic_category(), "the domain's memory");
        if (std::memcmp(content, zeros, page_bytes) == 0) {
            zero++;
            continue;
        }
        unsigned char digest[32];
        EVP_Digest(content, page_bytes, digest, nullptr, EVP_sha256(), nullptr);
        pages << fmt::format("{:x} {:02x}\n", gfn, fmt::join(digest, ""));
    }
    flush();
    if (!pages.flush()) throw std::system_error(errno, std::generic_category(), pages_path);
    return {{"frames", populated_},
            {"allowed_frames", limits_.frames},
            {"ram_frames", limits_.ram_frames},
            {"low_end", limits_.low_end},
            {"high_end", limits_.high_end},
            {"ranges", ranges},
            {"missing_ram_frames", missing},
            {"zero_frames", zero},
            {"unwritten_frames", unwritten},
            {"page_writes", writes}};
}

nlohmann::json Domain::parameter_facts() const {
    auto facts = nlohmann::json::array();
    for (const auto& [index, value] : parameter_order_) facts.push_back({index, value});
    return facts;
}

}  // namespace oracle
