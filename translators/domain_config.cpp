#include "translators/domain_config.hpp"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

namespace vmferry {

namespace {

using Json = nlohmann::json;
namespace limit = domain_config_limit;

/// Leaves the reading from any depth; never crosses read_domain_config().
struct ConfigError {
    std::string path, found, expected;
};

std::string clipped(std::string text) {
    constexpr std::size_t longest = 80;
    if (text.size() > longest) text = text.substr(0, longest) + "…";
    return text;
}
std::string shown(const Json& value) {
    if (value.is_object()) return "an object";
    if (value.is_array()) return "a list";
    // ensure_ascii: control characters and anything beyond ASCII come out escaped.
    return clipped(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

/// An object of the JSON with the path to it, for errors. A missing object reads as an empty one.
class Node {
  public:
    Node(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
        if (!object.is_object())
            throw ConfigError{path_.empty() ? "text" : path_, shown(object), "an object"};
    }

    [[nodiscard]] bool has(const char* key) const { return object_->contains(key); }

    [[nodiscard]] Node child(const char* key) const {
        static const Json empty = Json::object();
        const auto* value = find(key);
        return {value != nullptr ? *value : empty, at(key)};
    }
    [[nodiscard]] std::vector<Node> children(const char* key) const {
        std::vector<Node> nodes;
        const auto* value = list(key);
        if (value == nullptr) return nodes;
        for (std::size_t i = 0; i < value->size(); ++i)
            nodes.emplace_back((*value)[i], fmt::format("{}[{}]", at(key), i));
        return nodes;
    }
    [[nodiscard]] std::string text(const char* key, std::string absent) const {
        const auto* value = find(key);
        return value == nullptr ? std::move(absent) : checked_text(*value, at(key));
    }
    [[nodiscard]] std::vector<std::string> texts(const char* key) const {
        std::vector<std::string> all;
        const auto* value = list(key);
        if (value == nullptr) return all;
        for (const auto& item : *value) all.push_back(checked_text(item, at(key)));
        return all;
    }
    [[nodiscard]] std::uint64_t number(const char* key, std::uint64_t absent, std::uint64_t most) const {
        const auto* value = find(key);
        return value == nullptr ? absent : checked_number(*value, at(key), most);
    }
    /// libxl's bitmap: the list of its set bits.
    [[nodiscard]] std::vector<unsigned> bits(const char* key, unsigned most) const {
        std::vector<unsigned> all;
        const auto* value = list(key);
        if (value == nullptr) return all;
        for (const auto& item : *value)
            all.push_back(static_cast<unsigned>(checked_number(item, at(key), most)));
        return all;
    }
    /// libxl's defbool, and the plain 0/1 or true/false that its int and bool members are written as.
    [[nodiscard]] bool flag(const char* key, bool absent) const {
        const auto* value = find(key);
        if (value == nullptr || *value == "<default>") return absent;
        if (value->is_boolean()) return value->get<bool>();
        if (*value == "True") return true;
        if (*value == "False") return false;
        if (value->is_number_integer() && (*value == 0 || *value == 1)) return *value == 1;
        throw ConfigError{at(key), shown(*value), "\"True\", \"False\" or \"<default>\""};
    }
    [[nodiscard]] bool has_items(const char* key) const {
        const auto* value = list(key);
        return value != nullptr && !value->empty();
    }
    [[nodiscard]] std::string at(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

  private:
    [[nodiscard]] const Json* find(const char* key) const {
        const auto found = object_->find(key);
        return found == object_->end() || found->is_null() ? nullptr : &*found;
    }
    [[nodiscard]] const Json* list(const char* key) const {
        const auto* value = find(key);
        if (value == nullptr) return nullptr;
        if (!value->is_array()) throw ConfigError{at(key), shown(*value), "a list"};
        if (value->size() > limit::list_items)
            throw ConfigError{at(key), fmt::format("{} items", value->size()),
                              fmt::format("at most {}", limit::list_items)};
        return value;
    }
    static std::string checked_text(const Json& value, const std::string& path) {
        if (!value.is_string()) throw ConfigError{path, shown(value), "a text"};
        const auto& text = value.get_ref<const std::string&>();
        if (text.size() > limit::text_bytes)
            throw ConfigError{path, fmt::format("{} bytes", text.size()),
                              fmt::format("at most {}", limit::text_bytes)};
        return text;
    }
    static std::uint64_t checked_number(const Json& value, const std::string& path, std::uint64_t most) {
        // Anything beyond 64 bits has become a floating-point number here.
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
            throw ConfigError{path, shown(value), fmt::format("a whole number of at most {}", most)};
        return value.get<std::uint64_t>();
    }

    const Json* object_;
    std::string path_;
};

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

std::string read_name(const Node& node) {
    auto name = node.text("name", "");
    const bool bad = name.empty() || name.size() > limit::name_bytes || name == "." || name == ".." ||
                     std::ranges::any_of(name, [](char c) { return is_control(c) || c == '/'; });
    if (bad)
        throw ConfigError{
            node.at("name"), name.empty() ? "none" : shown(Json(name)),
            fmt::format("a name of 1 to {} bytes without control characters and '/'", limit::name_bytes)};
    return name;
}

template <std::size_t N>
bool parse_hex(std::string_view text, char separator, std::string_view groups,
               std::array<std::uint8_t, N>& bytes) {
    // `groups`: how many bytes each group has; a separator stands between groups.
    std::size_t at = 0, byte = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        if (g > 0) {
            if (at >= text.size() || text[at] != separator) return false;
            ++at;
        }
        for (int i = 0; i < groups[g] - '0'; ++i) {
            unsigned value = 0;
            for (int digit = 0; digit < 2; ++digit) {
                if (at >= text.size()) return false;
                const char c = text[at++];
                if (c >= '0' && c <= '9')
                    value = value * 16 + static_cast<unsigned>(c - '0');
                else if (c >= 'a' && c <= 'f')
                    value = value * 16 + static_cast<unsigned>(c - 'a' + 10);
                else if (c >= 'A' && c <= 'F')
                    value = value * 16 + static_cast<unsigned>(c - 'A' + 10);
                else
                    return false;
            }
            bytes[byte++] = static_cast<std::uint8_t>(value);
        }
    }
    return at == text.size();
}

std::string read_uuid(const Node& node) {
    const auto text = node.text("uuid", "");
    if (text.empty()) return {};
    std::array<std::uint8_t, 16> b{};
    if (!parse_uuid(text, b)) throw ConfigError{node.at("uuid"), shown(Json(text)), "a UUID"};
    std::string canonical;
    for (std::size_t i = 0; i < b.size(); ++i)
        canonical += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    return canonical;
}

void read_disks(const Node& root, DomainConfig& config) {
    std::set<std::string> seen;
    for (const auto& node : root.children("disks")) {
        DomainDisk disk;
        disk.vdev = node.text("vdev", "");
        const bool plain =
            !disk.vdev.empty() && disk.vdev.size() <= 16 && std::ranges::all_of(disk.vdev, [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
            });
        if (!plain)
            throw ConfigError{node.at("vdev"), shown(Json(disk.vdev)), "a device name such as \"hda\""};
        if (!seen.insert(disk.vdev).second)
            throw ConfigError{node.at("vdev"), disk.vdev + " twice", "each drive once"};
        disk.format = node.text("format", "raw");
        disk.cdrom = node.flag("is_cdrom", false);
        disk.readwrite = node.flag("readwrite", false);
        disk.empty = disk.format == "empty";
        config.disks.push_back(std::move(disk));
    }
}

void read_nics(const Node& root, DomainConfig& config) {
    constexpr unsigned most = 255;
    std::set<unsigned> used;
    unsigned next = 0;
    for (const auto& node : root.children("nics")) {
        DomainNic nic;
        // libxl numbers the ones without devid in order.
        while (used.contains(next)) ++next;
        nic.devid = static_cast<unsigned>(node.number("devid", next, most));
        if (!used.insert(nic.devid).second)
            throw ConfigError{node.at("devid"), fmt::format("{} twice", nic.devid), "each number once"};
        nic.emulated = node.text("nictype", "vif_ioemu") != "vif";
        nic.model = node.text("model", "rtl8139");
        const auto text = node.text("mac", "");
        std::array<std::uint8_t, 6> mac{};
        if (parse_mac(text, mac))
            nic.mac = fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                                  mac[4], mac[5]);
        else if (nic.emulated || !text.empty())
            throw ConfigError{node.at("mac"), text.empty() ? "none" : shown(Json(text)), "a MAC address"};
        config.nics.push_back(std::move(nic));
    }
}

std::vector<std::string> one_or_list(const Node& node, const char* one, const char* several) {
    auto all = node.texts(several);
    if (auto single = node.text(one, ""); all.empty() && !single.empty()) all.push_back(std::move(single));
    return all;
}

void read_hvm(const Node& build, DomainConfig& config) {
    if (!build.has("type.hvm")) throw ConfigError{build.at("type.hvm"), "none", "the HVM part"};
    const auto hvm = build.child("type.hvm");
    // Members that moved from the HVM part to b_info over the releases are looked for in both.
    const auto moved = [&](const char* key, bool absent) { return build.flag(key, hvm.flag(key, absent)); };
    config.acpi = moved("acpi", true);
    config.apic = moved("apic", true);
    config.nested_hvm = moved("nested_hvm", false);
    config.hpet = hvm.flag("hpet", true);
    config.xen_platform_pci = hvm.flag("xen_platform_pci", true);
    config.viridian = hvm.flag("viridian", false) || hvm.has_items("viridian_enable");
    config.bios = hvm.text("bios", config.device_model == "qemu_xen_traditional" ? "rombios" : "seabios");
    config.hdtype = hvm.text("hdtype", "ide");
    config.mmio_hole_memkb = hvm.number("mmio_hole_memkb", 0, 4u << 20);
    config.usb = hvm.flag("usb", false);
    config.usb_version = static_cast<unsigned>(hvm.number("usbversion", 0, 3));
    config.usbdevices = one_or_list(hvm, "usbdevice", "usbdevice_list");
    config.serial = one_or_list(hvm, "serial", "serial_list");
    if (auto sound = hvm.text("soundhw", ""); !sound.empty()) config.soundhw.push_back(std::move(sound));
    config.spice = hvm.child("spice").flag("enable", false);
    config.gfx_passthru = hvm.flag("gfx_passthru", false);
    config.vendor_device = hvm.text("vendor_device", "none") != "none";
    config.vga = hvm.child("vga").text("kind", "cirrus");
    if (config.vga == "unknown") config.vga = "cirrus";
    // libxl__domain_build_info_setdefault: video memory by the kind of adapter.
    const bool traditional = config.device_model == "qemu_xen_traditional";
    std::uint64_t video = traditional ? 4096 : 8192;
    if (config.vga == "none") video = 0;
    if (config.vga == "std") video = traditional ? 8192 : 16384;
    if (config.vga == "qxl") video = 128u << 10;
    config.video_memkb = build.number("video_memkb", video, limit::memory_kib);
}

DomainConfig read_config(const Json& json) {
    const Node root(json, "");
    const auto create = root.child("c_info"), build = root.child("b_info");
    DomainConfig config;
    config.type = create.text("type", "");
    if (config.type != "hvm" && config.type != "pv" && config.type != "pvh")
        throw ConfigError{"c_info.type", config.type.empty() ? "none" : shown(Json(config.type)),
                          "\"hvm\", \"pv\" or \"pvh\""};
    config.name = read_name(create);
    config.uuid = read_uuid(create);

    config.max_vcpus = static_cast<unsigned>(build.number("max_vcpus", 1, limit::vcpus));
    if (config.max_vcpus == 0) throw ConfigError{"b_info.max_vcpus", "0", "at least 1"};
    config.avail_vcpus = build.bits("avail_vcpus", limit::vcpus);
    if (config.avail_vcpus.empty()) config.avail_vcpus = {0};
    config.max_memkb = build.number("max_memkb", 32u << 10, limit::memory_kib);
    config.target_memkb = build.number("target_memkb", config.max_memkb, limit::memory_kib);
    config.device_model = build.text("device_model_version", "qemu_xen");
    config.tsc_mode = build.text("tsc_mode", "default");
    const auto arch = build.child("arch_x86");
    if (const bool relaxed = arch.flag("msr_relaxed", true); relaxed == arch.flag("msr_relaxed", false))
        config.msr_relaxed = relaxed;
    config.stubdomain = build.flag("device_model_stubdomain", false);
    if (create.child("platformdata").text(firmware_mark, "") == seabios_mark)
        config.firmware = Firmware::seabios_on_qemu;
    for (const auto* key : {"extra", "extra_hvm"})
        for (auto& argument : build.texts(key)) config.extra_hvm.push_back(std::move(argument));

    if (config.type == "hvm") read_hvm(build, config);
    if (config.max_memkb <= config.video_memkb)
        throw ConfigError{"b_info.max_memkb", fmt::format("{}", config.max_memkb),
                          fmt::format("more than video_memkb ({})", config.video_memkb)};
    read_disks(root, config);
    read_nics(root, config);
    for (const auto* key : {"pcidevs", "dtdevs", "rdms", "vfbs", "vkbs", "virtios", "vtpms", "p9s",
                            "pvcallsifs", "vdispls", "vsnds", "channels", "usbctrls", "usbdevs"})
        if (root.has_items(key)) config.other_devices.emplace_back(key);
    return config;
}

/// Refuses what the recursive parts of any JSON library should not be given, and a key that appears twice:
/// libxl and this reader could take different ones.
Json parse(std::string_view json) {
    std::vector<std::set<std::string>> keys;
    const auto watch = [&keys](int depth, Json::parse_event_t event, Json& parsed) {
        if (static_cast<std::size_t>(depth) > limit::depth)
            throw ConfigError{"nesting", fmt::format("lists and objects {} deep", depth),
                              fmt::format("at most {}", limit::depth)};
        if (event == Json::parse_event_t::object_start) keys.emplace_back();
        if (event == Json::parse_event_t::object_end) keys.pop_back();
        if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
            throw ConfigError{shown(parsed), "the same key twice in one object", "each key once"};
        return true;
    };
    return Json::parse(json.begin(), json.end(), watch);
}

}  // namespace

bool parse_uuid(std::string_view text, std::array<std::uint8_t, 16>& bytes) {
    return parse_hex(text, '-', "42226", bytes);
}

bool parse_mac(std::string_view text, std::array<std::uint8_t, 6>& bytes) {
    return parse_hex(text, ':', "111111", bytes);
}

Result<DomainConfig> read_domain_config(std::string_view json, std::uint64_t offset) {
    if (json.size() > limit::json_bytes)
        return stream_error("xl config", "JSON", "size", offset, fmt::format("{} bytes", json.size()),
                            fmt::format("at most {}", limit::json_bytes));
    // The sender's text ends with a NUL; a reader may or may not have cut it off.
    while (!json.empty() && json.back() == '\0') json.remove_suffix(1);
    try {
        return read_config(parse(json));
    } catch (const ConfigError& error) {
        return stream_error("xl config", "JSON", error.path, offset, error.found, error.expected);
    } catch (const Json::parse_error& error) {
        return stream_error("xl config", "JSON", "text", offset + (error.byte > 0 ? error.byte - 1 : 0),
                            "text that is not JSON", "a JSON object as libxl writes it");
    } catch (const Json::exception& error) {
        // "[json.exception.out_of_range.406] number overflow parsing '1e999'"
        const std::string_view what = error.what();
        return stream_error("xl config", "JSON", "text", offset,
                            clipped(std::string(what.substr(what.find("] ") + 2))),
                            "a JSON object as libxl writes it");
    }
}

}  // namespace vmferry
