// The state of StreamReader; the layers' parts are in stream_reader_libxl.cpp and stream_reader_libxc.cpp.
//
//     xl header ─→ libxl header ─→ libxl record ─┬→ END ─→ stream end ─→ finished
//                                      ↑         └→ LIBXC_CONTEXT
//                                      │                 ↓
//                                      │           image header ─→ domain header
//                                      │                                 ↓
//                                      └────────── END ←─────────── libxc record ⇄ pages, skipping
#pragma once

#include <optional>

#include "parsers/wire/place.hpp"
#include "parsers/xen/libxc_records.hpp"
#include "parsers/xen/page_data.hpp"
#include "parsers/xen/record_header.hpp"
#include "parsers/xen/stream_reader.hpp"

namespace vmferry::xen {

enum class Phase {
    xl_header,
    libxl_header,
    libxl_record,
    image_header,
    domain_header,
    libxc_record,
    pages,
    skipping,
    stream_end,
    finished,
};

/// Which of the records that may come only once have come.
class SeenOnce {
  public:
    [[nodiscard]] bool has(LibxcType type) const { return (bits_ >> index(type) & 1) != 0; }
    void add(LibxcType type) { bits_ |= 1U << index(type); }

  private:
    static unsigned index(LibxcType type) { return static_cast<unsigned>(type); }
    std::uint32_t bits_ = 0;
};

/// What a "need more" was about, for truncated().
struct Wanted {
    const char* format;
    const char* what;
    std::size_t need;
};
/// What a phase asks for with nothing at hand.
[[nodiscard]] Wanted first_wanted(Phase phase);

struct StreamReader::State {
    using Next = Result<Step<Record>>;

    explicit State(Start start);

    Phase phase;
    bool inside_libxl;
    std::uint64_t offset = 0;  ///< of the first byte not consumed

    bool seen_libxc = false, seen_xenstore = false, seen_emulator = false;  // libxl
    std::uint32_t version = 0;                                              // libxc
    SeenOnce seen;
    PageDataReader batch;
    SkippedOptional skipped;  ///< the one being skipped; `at` counts what has been lent

    std::optional<Wanted> wanted;  ///< since the last record

    Next next(Bytes in);

    Next more(Wanted what) {
        wanted = what;
        return Step<Record>::more(what.need);
    }
    Next found(std::size_t consumed, Record record) {
        wanted.reset();
        offset += consumed;
        return Step<Record>::found(consumed, std::move(record));
    }

    Next xl_header(Bytes in);
    Next libxl_header(Bytes in);
    Next libxl_record(Bytes in);
    Next image_header(Bytes in);
    Next domain_header(Bytes in);
    Next libxc_record(Bytes in);
    Next page_batch(Bytes in);
    Next pages(Bytes in);
    Next skip(Bytes in, std::size_t head);

    [[nodiscard]] Result<void> check_libxl(RecordHeader header, const Place& place) const;
    [[nodiscard]] Result<void> check_libxc(RecordHeader header, const Place& place) const;
    [[nodiscard]] Result<void> check_libxc_order(LibxcType type, const Place& place) const;
    [[nodiscard]] Result<Record> libxc_body(LibxcType type, Bytes body, const Place& place) const;
};

}  // namespace vmferry::xen
