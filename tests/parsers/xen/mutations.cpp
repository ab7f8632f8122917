// Seeded mutations: whatever the bytes, a reader ends with records or one error that names its place, keeps
// the contract, and what it accepts is written back byte by byte. AddressSanitizer watches (preset asan).
#include <random>

#include <doctest/doctest.h>

#include "parsers/xen/describe.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

constexpr unsigned rounds = 20'000;

/// Values that lengths, counts and flags go wrong with.
constexpr std::uint32_t interesting[] = {
    0,      1,      2,      7,          8,          0x7F,       0x80,       0xFF,       0x100,
    0x7FFF, 0x8000, 0xFFFF, 0x07FFFFFF, 0x08000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF};

class Mutator {
  public:
    explicit Mutator(unsigned seed) : random_(seed) {}
    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

    /// One to four changes; half of them in the first `head` bytes.
    void mutate(Buffer& bytes, std::size_t head) {
        for (auto changes = 1 + below(4); changes > 0 && !bytes.empty(); --changes) {
            const auto at = below(below(2) == 0 ? std::min(head, bytes.size()) : bytes.size());
            switch (below(6)) {
                case 0:
                    bytes[at] ^= static_cast<std::byte>(1U << below(8));
                    break;
                case 1:
                    bytes[at] = static_cast<std::byte>(below(256));
                    break;
                case 2:
                case 3:
                    put(bytes, at & ~std::size_t{3}, interesting[below(std::size(interesting))]);
                    break;
                case 4:
                    erase(bytes, at, 1 + below(16));
                    break;
                default:
                    insert(bytes, at, 1 + below(16));
                    break;
            }
        }
    }

  private:
    static void put(Buffer& bytes, std::size_t at, std::uint32_t value) {
        std::memcpy(bytes.data() + at, &value, std::min(sizeof value, bytes.size() - at));
    }
    static void erase(Buffer& bytes, std::size_t at, std::size_t size) {
        const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(size, bytes.size() - at)));
    }
    static void insert(Buffer& bytes, std::size_t at, std::size_t size) {
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), size, static_cast<std::byte>(size));
    }

    std::mt19937 random_;
};

void check_error(const Error& error, std::size_t from, std::size_t to) {
    const bool complete = error.kind == ErrorKind::stream && !error.format.empty() && !error.record.empty() &&
                          !error.found.empty() && !error.expected.empty() && error.offset >= from &&
                          error.offset <= to;
    if (!complete) FAIL_CHECK(error.text());
}

}  // namespace

TEST_CASE("mutated streams") {
    // Headers and small records: a page would only dilute the mutations.
    const auto small = [](unsigned version) {
        const auto stream = build_stream({.version = version});
        Buffer bytes(stream.bytes.begin(),
                     stream.bytes.begin() + static_cast<std::ptrdiff_t>(stream.at.at("PAGE_DATA")));
        const auto rest = stream.at.at("VERIFY"), second = stream.at.at("second copy");
        append(bytes, Bytes(stream.bytes).subspan(stream.at.at("holes"), 8 + 32));
        append(bytes, Bytes(stream.bytes).subspan(rest, second - rest));
        append(bytes, Bytes(stream.bytes).subspan(stream.at.at("X86_TSC_INFO")));
        return bytes;
    };
    const Buffer seeds[] = {small(3), small(2)};
    REQUIRE(read_all(seeds[0]).errors.empty());
    REQUIRE(read_all(seeds[1]).errors.empty());
    const Buffer with_pages = build_stream().bytes;

    Mutator mutator(20260818);
    unsigned accepted = 0;
    for (unsigned round = 0; round < rounds; ++round) {
        auto bytes = round % 16 == 0 ? with_pages : seeds[round % 2];
        mutator.mutate(bytes, 700);
        // A buffer of its own size, so that a read behind the end is seen.
        const Buffer exact(bytes.begin(), bytes.end());
        const auto back = read_all(exact, [&](std::size_t) { return mutator.below(2000); });
        if (!std::equal(back.rewritten.begin(), back.rewritten.end(), exact.begin()))
            FAIL_CHECK("round ", round, " is written differently");
        if (back.errors.empty()) ++accepted;
        for (const auto& error : back.errors) check_error(error, 0, exact.size());
    }
    // Some mutations hit payload only.
    CHECK(accepted > rounds / 100);
    CHECK(accepted < rounds / 2);
}

TEST_CASE("mutated HVM contexts") {
    const auto good = write_hvm_context(build_context());
    Mutator mutator(4);
    unsigned accepted = 0;
    for (unsigned round = 0; round < rounds; ++round) {
        auto bytes = good;
        mutator.mutate(bytes, good.size());
        const Buffer exact(bytes.begin(), bytes.end());
        constexpr std::uint64_t offset = 1U << 20;
        const auto context = read_hvm_context(exact, offset);
        if (!context) {
            check_error(context.error(), offset, offset + exact.size());
            continue;
        }
        ++accepted;
        if (write_hvm_context(*context) != exact) FAIL_CHECK("round ", round, " is written differently");
        if (accepted % 100 == 0)
            for (const auto& record : *context) CHECK_FALSE(describe(record).fields.empty());
    }
    CHECK(accepted > rounds / 20);
    CHECK(accepted < rounds);
}

}  // namespace vmferry::xen::test
