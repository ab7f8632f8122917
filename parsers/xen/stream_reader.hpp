// The stream of `xl migrate` and `xl save`, from the xl header to libxl's END.
//
//     xl header (48) · optional data (config)                        unaligned
//     libxl header (16, BE) · record LIBXC_CONTEXT (8)
//         libxc image header (24, BE) · domain header (16) · records … · END
//     libxl records: [EMULATOR_XENSTORE_DATA] EMULATOR_CONTEXT END
//
// Record headers are 8 bytes (u32 type, u32 length), bodies zero-padded to 8. Specification:
// docs/specs/libxl-migration-stream and libxc-migration-stream of the Xen project.
#pragma once

#include <cstdint>
#include <memory>

#include "parsers/wire/pull.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

inline constexpr std::size_t max_config = 4u << 20;            ///< bytes of JSON
inline constexpr std::uint32_t max_libxc_record = 128u << 20;  ///< Xen's own limit for a record's body
inline constexpr std::size_t max_batch_entries = 32768;        ///< pfns of one PAGE_DATA
inline constexpr std::size_t max_emulator_context = 64u << 20;
inline constexpr std::size_t max_xenstore_data = 1u << 20;

/// Pull parser over all layers; contract in parsers/wire/pull.hpp. Order is enforced as Xen's own receiver
/// does (STATIC_DATA_END before pages in v3, …) and beyond where a stream could not be carried (second
/// HVM_CONTEXT). Memory: the list of the current batch and nothing else.
///
/// What next() may need at most: the whole of a header or of a record that is not PAGE_DATA (its limit above
/// or in libxc_records.hpp), the list of a batch (8 bytes per entry), one page. Pages and unknown optional
/// records are lent in pieces, as many bytes as have arrived. After StreamEnd it only asks for more; the
/// bytes behind the stream are not touched.
class StreamReader {
  public:
    /// libxl_header: what libvirt sends; libxc_header: a libxc stream alone, StreamEnd comes after its END.
    enum class Start { xl_header, libxl_header, libxc_header };
    explicit StreamReader(Start start = Start::xl_header);
    ~StreamReader();
    StreamReader(StreamReader&&) noexcept;
    StreamReader& operator=(StreamReader&&) noexcept;

    [[nodiscard]] Result<Step<Record>> next(Bytes in);
    /// Bytes consumed since the beginning of the stream.
    [[nodiscard]] std::uint64_t offset() const;
    /// The stream ended here: what was being read, as an error; `have` = unread bytes that were left.
    [[nodiscard]] Error truncated(std::size_t have) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmferry::xen
