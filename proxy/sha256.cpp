#include "proxy/sha256.hpp"

#include <array>
#include <fstream>
#include <vector>

#include <openssl/evp.h>

namespace vmferry {

struct Sha256::State {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
    EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;

void Sha256::add(Bytes bytes) {
    EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

void Sha256::add_text(std::string_view text) {
    const std::uint64_t size = text.size();
    add(std::as_bytes(std::span(&size, 1)));
    add(as_bytes(text));
}

Result<void> Sha256::add_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return environment_error("file", "reading " + path, "it cannot be opened");
    const auto size = static_cast<std::uint64_t>(file.tellg());
    file.seekg(0);
    add(std::as_bytes(std::span(&size, 1)));
    std::vector<char> chunk(1u << 20);
    while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0)
        add(std::as_bytes(std::span(chunk.data(), static_cast<std::size_t>(file.gcount()))));
    return {};
}

std::string Sha256::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(state_->context, digest.data(), &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
}

}  // namespace vmferry
