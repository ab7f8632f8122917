#include "proxy/output_batch.hpp"

#include <doctest/doctest.h>

using namespace vmferry;

namespace {

Buffer gathered(const OutputBatch& batch) {
    Buffer all;
    for (const auto& piece : batch.pieces())
        append(all, Bytes(static_cast<const std::byte*>(piece.iov_base), piece.iov_len));
    return all;
}

}  // namespace

TEST_CASE("output batch: copied heads and lent pages come out in order, neighbours as one piece") {
    const Buffer pages(3 * page_size, std::byte{7});
    OutputBatch batch;
    batch.copy(as_bytes("ab"));
    batch.copy(as_bytes("cd"));
    CHECK(batch.pieces().size() == 1);
    batch.lend(Bytes(pages).first(page_size));
    batch.lend(Bytes(pages).subspan(page_size, page_size));
    CHECK(batch.pieces().size() == 2);
    CHECK(batch.pieces()[1].iov_base == pages.data());
    batch.copy(as_bytes("e"));
    batch.lend({});
    batch.copy({});
    CHECK(batch.pieces().size() == 3);

    Buffer expected;
    append(expected, "abcd");
    append(expected, Bytes(pages).first(2 * page_size));
    append(expected, "e");
    CHECK(gathered(batch) == expected);
    CHECK(batch.bytes() == expected.size());

    batch.clear();
    CHECK(batch.empty());
    CHECK(batch.bytes() == 0);
}

TEST_CASE("output batch: full before writev's limit, and as much as room() promised fits") {
    const Buffer pages(2 * OutputBatch::max_pieces * page_size);
    OutputBatch batch;
    const auto promised = batch.room();
    CHECK(promised > 400);
    std::size_t records = 0;
    while (!batch.full()) {
        batch.copy(as_bytes("12345678"));
        batch.lend(Bytes(pages).subspan(2 * records * page_size, page_size));
        ++records;
    }
    CHECK(records == promised);
    CHECK(batch.pieces().size() <= OutputBatch::max_pieces);
    batch.clear();
    CHECK(batch.room() == promised);
}

TEST_CASE("output batch: what is copied stays where it is while more is copied") {
    OutputBatch batch;
    Buffer expected;
    for (std::size_t round = 0; round < 2; ++round) {
        batch.clear();
        expected.clear();
        for (std::uint8_t i = 0; !batch.full(); ++i) {
            // Longer than a chunk now and then.
            const Buffer bytes(i % 16 == 15 ? 100'000u : 5'000u, std::byte{i});
            batch.copy(bytes);
            append(expected, bytes);
        }
        CHECK(gathered(batch) == expected);
        CHECK(batch.bytes() >= OutputBatch::max_copied);
    }
}
