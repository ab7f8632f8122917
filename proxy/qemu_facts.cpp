#include "proxy/qemu_facts.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/kvm.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "proxy/qemu_process.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/temporary_directory.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

bool kvm_usable() {
    const Descriptor kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
    return kvm.valid() && ioctl(kvm.get(), KVM_GET_API_VERSION, 0) == KVM_API_VERSION;
}

bool is_block_device(const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
}

Result<std::uint64_t> image_size(Loop& loop, QmpClient& qmp, const MappedDisk& disk,
                                 const TimeLimits& limits) {
    // Shared by force: another QEMU may have it at this moment, and only its size is asked.
    const json file = {{"driver", is_block_device(disk.path) ? "host_device" : "file"},
                       {"filename", disk.path}};
    const json node = {{"node-name", "probe"},
                       {"driver", disk.format},
                       {"read-only", true},
                       {"force-share", true},
                       {"file", file}};
    VMFERRY_TRY(qmp_call(loop, qmp, "blockdev-add", node, limits.qmp_answers));
    VMFERRY_ASSIGN(const json nodes,
                   qmp_call(loop, qmp, "query-named-block-nodes", {{"flat", true}}, limits.qmp_answers));
    VMFERRY_TRY(qmp_call(loop, qmp, "blockdev-del", {{"node-name", "probe"}}, limits.qmp_answers));
    for (const auto& entry : nodes)
        if (entry.value("node-name", "") == "probe")
            return entry.value("/image/virtual-size"_json_pointer, std::uint64_t{0});
    return environment_error("QEMU", "reading the size of " + disk.path, "no such node");
}

}  // namespace

Result<DestinationFacts> probe_destination(Loop& loop, const DestinationOptions& options,
                                           const TimeLimits& limits) {
    VMFERRY_ASSIGN(const auto directory, TemporaryDirectory::create());
    const auto socket = directory.file("qmp");
    VMFERRY_ASSIGN(const auto process,
                   QemuProcess::start(loop, {"QEMU",
                                             options.qemu,
                                             {"-M", "none", "-nodefaults", "-no-user-config", "-display",
                                              "none", "-S", "-qmp", "unix:" + socket + ",server=on,wait=off"},
                                             directory.file("log")}));
    process->alarm_on_exit(true);
    QmpClient qmp(loop.uv(), "QEMU");
    VMFERRY_ASSIGN(const json greeting, qmp_connect(loop, qmp, socket, limits.qemu_starts));
    DestinationFacts facts;
    facts.qemu_major = greeting.value("/version/qemu/major"_json_pointer, 0u);
    facts.qemu_minor = greeting.value("/version/qemu/minor"_json_pointer, 0u);
    VMFERRY_ASSIGN(const json machines, qmp_call(loop, qmp, "query-machines", nullptr, limits.qmp_answers));
    for (const auto& machine : machines) facts.machines.push_back(machine.value("name", ""));
    VMFERRY_ASSIGN(const json kvm, qmp_call(loop, qmp, "query-kvm", nullptr, limits.qmp_answers));
    facts.kvm = kvm.value("present", false) && kvm_usable();
    for (const auto& [vdev, disk] : options.disks) {
        if (disk.path == "none") continue;
        auto size = image_size(loop, qmp, disk, limits);
        if (!size)
            return environment_error("disk " + vdev, "opening " + disk.path + " as " + disk.format,
                                     size.error().found);
        facts.image_bytes[vdev] = *size;
    }
    process->alarm_on_exit(false);
    return facts;
}

Result<CpuFacts> read_cpu_facts(Loop& loop, QmpClient& qmp, const TimeLimits& limits) {
    VMFERRY_ASSIGN(const json cpus, qmp_call(loop, qmp, "query-cpus-fast", nullptr, limits.qmp_answers));
    if (!cpus.is_array() || cpus.empty()) return environment_error("QEMU", "query-cpus-fast", "no CPU");
    const auto path = cpus.front().value("qom-path", "");
    json values = json::object();
    for (const auto* name :
         {"vendor", "family", "model", "stepping", "model-id", "phys-bits", "feature-words"}) {
        VMFERRY_ASSIGN(values[name], qmp_call(loop, qmp, "qom-get", {{"path", path}, {"property", name}},
                                              limits.qmp_answers));
    }
    return read_cpu_facts(values.dump());
}

std::string write_cpu_facts(const CpuFacts& facts) {
    json words = json::array();
    constexpr const char* names[] = {"EAX", "EBX", "ECX", "EDX"};
    for (const auto& word : facts.words)
        words.push_back({{"cpuid-input-eax", word.leaf},
                         {"cpuid-input-ecx", word.subleaf},
                         {"cpuid-register", names[std::to_underlying(word.reg)]},
                         {"features", word.bits}});
    json values = {{"vendor", facts.vendor},     {"family", facts.family},  {"model", facts.model},
                   {"stepping", facts.stepping}, {"model-id", facts.brand}, {"feature-words", words}};
    if (facts.phys_bits) values["phys-bits"] = *facts.phys_bits;
    return values.dump();
}

Result<CpuFacts> read_cpu_facts(const std::string& text) {
    const auto values = json::parse(text, nullptr, false);
    const auto wrong = [&] { return environment_error("QEMU", "its CPU's properties", text.substr(0, 200)); };
    if (!values.is_object()) return wrong();
    const auto number = [&values](const char* name) {
        const auto value = values.find(name);
        return value != values.end() && value->is_number_integer() ? value->get<unsigned>() : 0u;
    };
    CpuFacts facts;
    const auto vendor = values.find("vendor"), words = values.find("feature-words");
    if (vendor == values.end() || !vendor->is_string() || words == values.end() || !words->is_array())
        return wrong();
    facts.vendor = vendor->get<std::string>();
    if (const auto brand = values.find("model-id"); brand != values.end() && brand->is_string())
        facts.brand = brand->get<std::string>();
    facts.family = number("family");
    facts.model = number("model");
    facts.stepping = number("stepping");
    if (const auto bits = number("phys-bits"); bits != 0) facts.phys_bits = bits;
    for (const auto& word : *words) {
        if (!word.is_object() || !word.contains("cpuid-input-eax") || !word.contains("features"))
            return wrong();
        const auto name = word.value("cpuid-register", "EAX");
        const auto reg = name == "EBX"   ? CpuidRegister::ebx
                         : name == "ECX" ? CpuidRegister::ecx
                         : name == "EDX" ? CpuidRegister::edx
                                         : CpuidRegister::eax;
        facts.words.push_back({word.value("cpuid-input-eax", 0u), word.value("cpuid-input-ecx", 0u), reg,
                               word.value("features", 0u)});
    }
    return facts;
}

Result<void> check_image_unlocked(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return {};
    const Descriptor image(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!image.valid()) return environment_error("disk", "opening " + path, errno_text(errno));
    // block/file-posix.c: byte 100 + n is locked by who uses permission n, 200 + n by who does not share it;
    // permission 1 is writing.
    for (const off_t byte : {101, 201}) {
        struct flock probe {};
        probe.l_type = F_WRLCK;
        probe.l_whence = SEEK_SET;
        probe.l_start = byte;
        probe.l_len = 1;
        if (fcntl(image.get(), F_OFD_GETLK, &probe) == 0 && probe.l_type != F_UNLCK)
            return environment_error("disk", "checking " + path, "another QEMU uses this image",
                                     "an image that nobody has locked");
    }
    return {};
}

}  // namespace vmferry
