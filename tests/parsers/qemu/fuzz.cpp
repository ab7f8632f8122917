// Seeded mutations of a stream and of a blob: every one is read to an end, an error or a result that writes
// back, without a fault. Meant to be run with the sanitizers as well.
#include <random>

#include <doctest/doctest.h>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

class Mutator {
  public:
    explicit Mutator(std::uint32_t seed) : random_(seed) {}

    Buffer operator()(Buffer bytes, std::size_t first) {
        for (auto times = 1 + pick(3); times > 0; --times) {
            const auto at = first + pick(bytes.size() - first);
            const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
            switch (pick(7)) {
                case 0:
                    bytes[at] ^= static_cast<std::byte>(1u << pick(8));
                    break;
                case 1:
                    bytes[at] = static_cast<std::byte>(pick(256));
                    break;
                case 2:
                    bytes[at] = interesting();
                    break;
                case 3:
                    bytes.erase(here,
                                here + static_cast<std::ptrdiff_t>(std::min(1 + pick(9), bytes.size() - at)));
                    break;
                case 4:
                    bytes.insert(here, 1 + pick(9), interesting());
                    break;
                case 5:  // a number of four bytes
                    for (std::size_t i = at; i < std::min(at + 4, bytes.size()); ++i)
                        bytes[i] = interesting();
                    break;
                default: {  // a piece from elsewhere
                    const auto from = first + pick(bytes.size() - first);
                    const auto size = std::min({1 + pick(40), bytes.size() - from, bytes.size() - at});
                    std::copy_n(Buffer(bytes).begin() + static_cast<std::ptrdiff_t>(from), size, here);
                }
            }
            if (bytes.size() <= first) break;
        }
        return bytes;
    }

    std::size_t pick(std::size_t below) { return random_() % below; }

  private:
    std::byte interesting() {
        constexpr std::uint8_t values[] = {0, 1, 2, 4, 5, 6, 7, 8, 0x10, 0x20, 0x7e, 0x7f, 0x80, 0xff};
        return std::byte{values[pick(std::size(values))]};
    }
    std::mt19937 random_;
};

}  // namespace

TEST_CASE("20000 mutations of a stream") {
    const auto stream = test::build_stream();
    Mutator mutate(1);
    std::size_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        // Two thirds where the structure is dense: the device state and the description.
        const auto first = i % 3 == 0 ? 0 : stream.at.at("END EOS");
        const auto bytes = mutate(stream.bytes, first);
        const auto chunk = 1 + mutate.pick(8000);
        const auto back = test::read_all(bytes, [chunk](std::size_t) { return chunk; });
        if (back.error) {
            ++refused;
            if (back.error->record.empty() || back.error->found.empty()) FAIL(back.error->text());
        } else if (back.rewritten != bytes) {
            FAIL("mutation " << i << " was read as something else");
        }
    }
    CHECK(refused > 10'000);
}

TEST_CASE("6000 mutations of a device model's blob") {
    auto tree = read_device_model(test::load_capture("xen-4.17-device-model.bin.zst"), 0);
    REQUIRE(tree);
    // The sections with conditions, counts and layouts.
    std::erase_if(tree->sections, [](const Section& section) {
        return section.idstr == "cpu" || section.idstr.ends_with("e1000") ||
               section.idstr.ends_with("cirrus_vga") || section.idstr == "fdc";
    });
    const auto blob = write_device_model(*tree);
    Mutator mutate(2);
    std::size_t refused = 0;
    for (int i = 0; i < 6'000; ++i) {
        const auto bytes = mutate(blob, 8);
        const auto back = read_device_model(bytes, 0);
        if (!back) {
            ++refused;
            if (back.error().record.empty() || back.error().offset > bytes.size()) FAIL(back.error().text());
            continue;
        }
        const auto written = write_device_model(*back);
        if (written.size() + back->rest != bytes.size() ||
            !std::equal(written.begin(), written.end(), bytes.begin()))
            FAIL("mutation " << i << " was read as something else");
    }
    CHECK(refused > 600);
}

}  // namespace vmferry::qemu
