#include "proxy/spill_file.hpp"

#include <bit>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/zero_page.hpp"

namespace vmferry {

namespace {

constexpr std::uint64_t bits = 64;

std::string message(int code) {
    return std::error_code(code, std::generic_category()).message();
}

// A file without a name; where the file system has no O_TMPFILE, one that is unlinked at once.
int open_unnamed(const std::string& directory) {
    int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    std::string name = directory + "/vmferry-spill-XXXXXX";
    fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0) ::unlink(name.c_str());
    return fd;
}

}  // namespace

SpillFile::SpillFile(std::string directory, std::uint64_t max_bytes) {
    use(std::move(directory), max_bytes);
}

void SpillFile::use(std::string directory, std::uint64_t max_bytes) {
    directory_ = std::move(directory);
    max_pages_ = max_bytes / page_size;
}

SpillFile::~SpillFile() {
    if (fd_ >= 0) ::close(fd_);
}

Result<void> SpillFile::create() {
    fd_ = open_unnamed(directory_);
    if (fd_ < 0) return environment_error("spill file", "making a file in " + directory_, message(errno));
    present_.assign(frames / bits, 0);
    return {};
}

Result<void> SpillFile::store(std::uint64_t gfn, Bytes page) {
    const bool known = contains(gfn);
    if (!known) {
        if (count_ >= max_pages_)
            return environment_error(
                "spill file", "holding pages back until the device records arrive",
                fmt::format("more than {} bytes of pages outside plain RAM", max_pages_ * page_size),
                "less, or a larger spill limit");
        if (fd_ < 0) VMFERRY_TRY(create());
    }
    // A hole of the file reads as zeros: a first copy that is all zero needs no write.
    if (known || !is_zero_page(page)) {
        std::size_t done = 0;
        while (done < page.size()) {
            const auto n = ::pwrite(fd_, page.data() + done, page.size() - done,
                                    static_cast<off_t>(gfn * page_size + done));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0)
                return environment_error("spill file", "writing a page to " + directory_,
                                         n < 0 ? message(errno) : "nothing written");
            done += static_cast<std::size_t>(n);
        }
    }
    if (!known) {
        present_[gfn / bits] |= 1ull << (gfn % bits);
        ++count_;
    }
    return {};
}

Result<void> SpillFile::load(std::uint64_t gfn, std::span<std::byte> into) const {
    std::size_t done = 0;
    while (done < into.size()) {
        const auto n =
            ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(gfn * page_size + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return environment_error("spill file", "reading a page back", message(errno));
        if (n == 0) {  // beyond the last page written: part of the hole
            std::memset(into.data() + done, 0, into.size() - done);
            break;
        }
        done += static_cast<std::size_t>(n);
    }
    return {};
}

bool SpillFile::contains(std::uint64_t gfn) const {
    return !present_.empty() && (present_[gfn / bits] >> (gfn % bits) & 1) != 0;
}

std::optional<std::uint64_t> SpillFile::next(std::uint64_t gfn) const {
    if (present_.empty() || gfn >= frames) return std::nullopt;
    auto word = gfn / bits;
    auto set = present_[word] & (~0ull << (gfn % bits));
    while (set == 0) {
        if (++word == present_.size()) return std::nullopt;
        set = present_[word];
    }
    return word * bits + static_cast<unsigned>(std::countr_zero(set));
}

}  // namespace vmferry
