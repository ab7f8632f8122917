#include <doctest/doctest.h>

#include "tests/error_text.hpp"
#include "tests/translators/plan_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

DomainConfig read(const std::string& json) {
    auto config = read_domain_config(json, 0);
    REQUIRE_MESSAGE(config.has_value(), test::error_text(config));
    return std::move(*config);
}

std::string minimal(const std::string& hvm = "", const std::string& build = "",
                    const std::string& root = "") {
    return R"({"c_info":{"type":"hvm","name":"m"},"b_info":{"max_memkb":65536)" + build + R"(,"type.hvm":{)" +
           hvm + "}}" + root + "}";
}

}  // namespace

TEST_CASE("domain config: the recorded guest") {
    const auto config = read(guest_json());
    CHECK(config.type == "hvm");
    CHECK(config.name == "g2");
    CHECK(config.uuid == "3db11e84-712c-4a51-99e4-347199d61911");
    CHECK(config.max_vcpus == 2);
    CHECK(config.avail_vcpus == std::vector<unsigned>{0, 1});
    CHECK(config.max_memkb == 98304);
    CHECK(config.video_memkb == 8192);
    CHECK(config.bios == "seabios");
    CHECK(config.vga == "cirrus");
    CHECK_FALSE(config.hpet);
    CHECK_FALSE(config.xen_platform_pci);
    CHECK_FALSE(config.usb);
    CHECK(config.acpi);
    CHECK(config.serial.size() == 1);
    REQUIRE(config.disks.size() == 1);
    CHECK(config.disks[0].vdev == "hda");
    CHECK(config.disks[0].readwrite);
    CHECK_FALSE(config.disks[0].cdrom);
    REQUIRE(config.nics.size() == 1);
    CHECK(config.nics[0].model == "e1000");
    CHECK(config.nics[0].mac == "00:16:3e:11:22:33");
    CHECK(config.nics[0].emulated);
    CHECK(config.other_devices.empty());
}

TEST_CASE("domain config: libxl's defaults") {
    const auto config = read(minimal());
    CHECK(config.uuid.empty());
    CHECK(config.max_vcpus == 1);
    CHECK(config.avail_vcpus == std::vector<unsigned>{0});
    CHECK(config.target_memkb == 65536);
    CHECK(config.video_memkb == 8192);
    CHECK(config.device_model == "qemu_xen");
    CHECK(config.bios == "seabios");
    CHECK(config.vga == "cirrus");
    CHECK(config.hdtype == "ide");
    CHECK(config.hpet);
    CHECK(config.acpi);
    CHECK(config.apic);
    CHECK(config.xen_platform_pci);
    CHECK_FALSE(config.nested_hvm);
    CHECK_FALSE(config.viridian);
    CHECK_FALSE(config.usb);
    CHECK_FALSE(config.stubdomain);
    CHECK(config.mmio_hole_memkb == 0);
    CHECK(read(minimal(R"("vga":{"kind":"std"})")).video_memkb == 16384);
    CHECK(read(minimal(R"("vga":{"kind":"none"})")).video_memkb == 0);
    CHECK(read(minimal(R"("vga":{"kind":"qxl"})", R"(,"video_memkb":32768)")).video_memkb == 32768);
    CHECK(read(minimal("", R"(,"device_model_version":"qemu_xen_traditional")")).bios == "rombios");
}

TEST_CASE("domain config: encodings") {
    CHECK(read(minimal(R"("hpet":"<default>")")).hpet);
    CHECK_FALSE(read(minimal(R"("hpet":"False")")).hpet);
    CHECK(read(minimal(R"("usb":"True","usbversion":2)")).usb_version == 2);
    CHECK(read(minimal(R"("viridian":"True")")).viridian);
    CHECK(read(minimal(R"("viridian_enable":[0,1])")).viridian);
    CHECK_FALSE(read(minimal(R"("viridian_enable":[])")).viridian);
    CHECK(read(minimal(R"("nested_hvm":"True")")).nested_hvm);
    CHECK(read(minimal("", R"(,"nested_hvm":"True")")).nested_hvm);
    CHECK_FALSE(read(minimal("", R"(,"acpi":"False")")).acpi);
    CHECK_FALSE(read(minimal(R"("acpi":"False")")).acpi);
    CHECK(read(minimal(R"("serial_list":["pty","none"])")).serial == std::vector<std::string>{"pty", "none"});
    CHECK(read(minimal(R"("usbdevice":"tablet")")).usbdevices == std::vector<std::string>{"tablet"});
    CHECK(read(minimal(R"("spice":{"enable":"True"})")).spice);
    CHECK(read(minimal(R"("vendor_device":"xenserver")")).vendor_device);
    CHECK(read(minimal("", R"(,"extra":["-a"],"extra_hvm":["-b"])")).extra_hvm ==
          std::vector<std::string>{"-a", "-b"});
    CHECK(read(minimal("", "", R"(,"pcidevs":[{}],"vtpms":[],"vkbs":[{}])")).other_devices ==
          std::vector<std::string>{"pcidevs", "vkbs"});
    CHECK(read(minimal("", R"(,"device_model_stubdomain":"True")")).stubdomain);

    const auto disks =
        read(minimal("", "", R"(,"disks":[{"vdev":"hdc","format":"empty","is_cdrom":1}])")).disks;
    REQUIRE(disks.size() == 1);
    CHECK(disks[0].cdrom);
    CHECK(disks[0].empty);
    CHECK_FALSE(disks[0].readwrite);

    const auto nics =
        read(minimal("", "",
                     R"(,"nics":[{"devid":1,"mac":"00:16:3E:00:00:0A"},{"mac":"00:16:3e:00:00:0b"},)"
                     R"({"nictype":"vif"}])"))
            .nics;
    REQUIRE(nics.size() == 3);
    CHECK(nics[0].devid == 1);
    CHECK(nics[0].model == "rtl8139");
    CHECK(nics[0].mac == "00:16:3e:00:00:0a");
    CHECK(nics[1].devid == 0);
    CHECK(nics[2].devid == 2);
    CHECK_FALSE(nics[2].emulated);
}

TEST_CASE("domain config: a trailing NUL and unknown keys do no harm") {
    auto json = minimal(R"("something":{"new":[1,2,{"x":null}]})");
    json += '\0';
    CHECK(read(json).name == "m");
}

TEST_CASE("domain config: PV and PVH have no HVM part") {
    CHECK(read(R"({"c_info":{"type":"pv","name":"p"},"b_info":{"type.pv":{}}})").type == "pv");
    CHECK(read(R"({"c_info":{"type":"pvh","name":"p"},"b_info":{"type.pvh":{}}})").type == "pvh");
}

TEST_CASE("domain config: a name in other letters than English ones") {
    CHECK(read(guest_json("\"g2\"", "\"Büro 7 (alt)\"")).name == "Büro 7 (alt)");
}

TEST_CASE("domain config: cut at every byte it is an error, never a crash") {
    const auto json = guest_json();
    const auto end = json.find_last_of('}');
    for (std::size_t cut = 0; cut <= end; ++cut) {
        const auto config = read_domain_config(std::string_view(json).substr(0, cut), 52);
        REQUIRE_FALSE(config);
        CHECK(config.error().text().starts_with("xl config JSON.text at offset "));
        CHECK(config.error().offset <= 52 + cut);
    }
    CHECK(read_domain_config(std::string_view(json).substr(0, end + 1), 0).has_value());
}
