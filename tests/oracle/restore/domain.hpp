// What the hypervisor would keep of one HVM domain that is being restored: its memory, its parameters, and
// whatever xc_domain_restore() hands over. Each call is judged as Xen would, and more strictly where Xen's
// tools would go on in silence.
//
//     memory: a sparse file, frame N at N * 4096; a frame exists only once it has been populated
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace oracle {

inline constexpr std::uint64_t page_bytes = 4096;

/// What its configuration says of its memory: max_memkb has the video memory in it, all below the MMIO hole
/// or above 4 GiB.
struct Limits {
    std::uint64_t ram_frames = 0, low_end = 0, high_end = 0;  ///< frames
    std::uint64_t frames = 0;                                 ///< as many as Xen lets it have
    unsigned vcpus = 1;

    explicit Limits(const nlohmann::json& config);
};

struct TscInfo {
    std::uint32_t mode = 0, khz = 0, incarnation = 0;
    std::uint64_t nsec = 0;
};

struct Grants {
    bool hvm = false;
    std::uint64_t console = 0, store = 0;
};

class Domain {
  public:
    /// The memory's file is created, or emptied.
    Domain(const Limits& limits, const std::string& memory_path);
    ~Domain();
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;

    /// False: Xen would not give it this frame.
    bool populate(std::uint64_t gfn);
    /// The frames as one range of addresses, written through to the memory; those not populated are errors.
    void* map(const std::uint64_t* gfns, std::size_t count, int* errors);
    void unmap(void* address, std::size_t count);
    bool clear(std::uint64_t gfn);
    /// An errno, or 0.
    int set_parameter(std::uint32_t index, std::uint64_t value);

    /// Something is wrong with the stream.
    void violation(std::string text);
    /// What only shows when all has been read.
    void judge_the_whole();

    std::optional<TscInfo> tsc;
    std::optional<Grants> grants;
    std::optional<unsigned> static_data_missing;
    std::vector<std::vector<unsigned char>> contexts;
    nlohmann::json cpuid = nlohmann::json::array(), msrs = nlohmann::json::array();
    unsigned policies = 0;

    [[nodiscard]] nlohmann::json memory_facts(const std::string& pages_path) const;
    [[nodiscard]] nlohmann::json parameter_facts() const;
    [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }

  private:
    void judge_frame(std::uint64_t gfn);
    [[nodiscard]] bool is_populated(std::uint64_t gfn) const {
        return gfn < frames_.size() && frames_[gfn].populated;
    }

    struct Frame {
        bool populated = false;
        std::uint32_t writes = 0;
    };
    Limits limits_;
    int file_ = -1;
    std::vector<Frame> frames_;
    std::uint64_t populated_ = 0;
    std::map<std::uint32_t, std::uint64_t> parameters_;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> parameter_order_;
    std::vector<std::string> violations_;
};

}  // namespace oracle
