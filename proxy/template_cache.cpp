#include "proxy/template_cache.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>
#include <zstd.h>

#include "proxy/qemu_facts.hpp"
#include "proxy/qemu_process.hpp"
#include "proxy/sha256.hpp"
#include "proxy/temporary_directory.hpp"

namespace vmferry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "vmferry twin 1\n";
constexpr std::uintmax_t max_firmware_file = 64u << 20;
constexpr std::size_t max_facts = 1u << 20;

std::string environment(const char* name) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in this program writes the environment.
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// The directories that QEMU looks for firmware in, as it says itself.
Result<std::vector<fs::path>> firmware_directories(Loop& loop, const std::string& qemu,
                                                   const TimeLimits& limits) {
    VMFERRY_ASSIGN(const auto directory, TemporaryDirectory::create());
    const auto log = directory.file("out");
    VMFERRY_ASSIGN(const auto process, QemuProcess::start(loop, {"QEMU", qemu, {"-L", "help"}, log}));
    VMFERRY_TRY(
        loop.wait({"QEMU", "the answer to -L help", limits.qemu_starts}, [&] { return process->exited(); }));
    std::vector<fs::path> found;
    std::ifstream file(log);
    for (std::string line; std::getline(file, line);) found.emplace_back(line);
    return found;
}

void add_firmware(Sha256& hash, const fs::path& directory) {
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
        const auto extension = entry.path().extension();
        if (extension == ".bin" || extension == ".rom" || extension == ".fd" || extension == ".aml")
            files.push_back(entry.path());
    }
    std::ranges::sort(files);
    for (const auto& file : files) {
        hash.add_text(file.filename().string());
        // One that cannot be read now cannot be read by QEMU either.
        (void)hash.add_file(file.string());
    }
}

/// Arguments name files as "romfile=PATH" or "-bios PATH": each word between separators is tried.
void add_named_files(Sha256& hash, const std::string& argument) {
    std::istringstream words(argument);
    for (std::string option; std::getline(words, option, ',');) {
        const auto path = option.substr(option.find('=') + 1);
        std::error_code error;
        if (path.empty() || !fs::is_regular_file(path, error)) continue;
        if (const auto size = fs::file_size(path, error); error || size > max_firmware_file) continue;
        (void)hash.add_file(path);
    }
}

}  // namespace

std::string default_cache_directory() {
    if (geteuid() == 0) return "/var/cache/vmferry";
    if (const auto cache = environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/vmferry";
    return environment("HOME") + "/.cache/vmferry";
}

Result<std::string> find_binary(const std::string& name) {
    std::vector<std::string> candidates;
    if (name.find('/') != std::string::npos) {
        candidates.push_back(name);
    } else {
        std::istringstream directories(environment("PATH"));
        for (std::string directory; std::getline(directories, directory, ':');)
            candidates.push_back(fmt::format("{}/{}", directory, name));
    }
    for (const auto& candidate : candidates)
        if (access(candidate.c_str(), X_OK) == 0 && !fs::is_directory(candidate)) return candidate;
    return environment_error("QEMU", "finding " + name, "no such program", "a QEMU binary (--qemu)");
}

Result<std::string> TemplateCache::key(Loop& loop, const TwinRequest& request,
                                       const TimeLimits& limits) const {
    VMFERRY_ASSIGN(const auto binary, find_binary(request.qemu));
    Sha256 hash;
    hash.add_text(magic);
    VMFERRY_TRY(hash.add_file(binary));
    VMFERRY_ASSIGN(const auto directories, firmware_directories(loop, binary, limits));
    for (const auto& directory : directories) add_firmware(hash, directory);
    for (const auto& argument : request.arguments) {
        hash.add_text(argument);
        add_named_files(hash, argument);
    }
    return hash.hex();
}

std::optional<Twin> TemplateCache::load(const std::string& key) const {
    std::ifstream in(file(key), std::ios::binary);
    if (!in) return std::nullopt;
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    constexpr std::size_t head = magic.size() + 65;
    if (text.size() < head || !text.starts_with(magic)) return std::nullopt;
    const auto packed = as_bytes(std::string_view(text).substr(head));
    Sha256 hash;
    hash.add(packed);
    if (text.substr(magic.size(), 65) != hash.hex() + "\n") return std::nullopt;
    const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
        size > max_twin_stream + max_facts || size < sizeof(std::uint32_t))
        return std::nullopt;
    Buffer plain(size);
    if (ZSTD_decompress(plain.data(), plain.size(), packed.data(), packed.size()) != size)
        return std::nullopt;
    const Bytes rest = Bytes(plain).subspan(sizeof(std::uint32_t));
    const auto length = load_be<std::uint32_t>(plain);
    if (length > rest.size()) return std::nullopt;
    auto facts = read_cpu_facts(std::string(as_text(rest.first(length))));
    if (!facts) return std::nullopt;
    const auto stream = rest.subspan(length);
    return Twin{std::move(*facts), Buffer(stream.begin(), stream.end())};
}

void TemplateCache::store(const std::string& key, const Twin& twin) const {
    std::error_code error;
    fs::create_directories(directory_, error);
    const auto facts = write_cpu_facts(twin.cpu);
    Buffer plain;
    append_be(plain, static_cast<std::uint32_t>(facts.size()));
    append(plain, facts);
    append(plain, Bytes(twin.stream));
    Buffer packed(ZSTD_compressBound(plain.size()));
    const auto size = ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 1);
    if (ZSTD_isError(size) != 0) return;
    packed.resize(size);
    Sha256 hash;
    hash.add(packed);
    // Written beside and renamed, so that a reader never sees half an entry.
    static std::atomic<unsigned> writers = 0;
    const auto partial = fmt::format("{}.{}-{}", file(key), getpid(), ++writers);
    std::ofstream out(partial, std::ios::binary);
    out << magic << hash.hex() << '\n' << as_text(packed);
    out.close();
    if (out)
        fs::rename(partial, file(key), error);
    else
        fs::remove(partial, error);
}

Result<Twin> TemplateCache::twin(Loop& loop, const TwinRequest& request, const TimeLimits& limits) {
    if (directory_.empty()) return capture_twin(loop, request, limits);
    VMFERRY_ASSIGN(const auto name, key(loop, request, limits));
    if (auto cached = load(name)) return std::move(*cached);
    VMFERRY_ASSIGN(auto twin, capture_twin(loop, request, limits));
    store(name, twin);
    return twin;
}

}  // namespace vmferry
