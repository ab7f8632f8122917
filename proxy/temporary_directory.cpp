#include "proxy/temporary_directory.hpp"

#include <cerrno>
#include <cstdlib>

#include "proxy/descriptor.hpp"

namespace vmferry {

Result<TemporaryDirectory> TemporaryDirectory::create() {
    std::error_code error;
    auto base = std::filesystem::temp_directory_path(error);
    if (error) base = "/tmp";
    std::string path = (base / "vmferry-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr)
        return environment_error("temporary directory", path, errno_text(errno));
    return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace vmferry
