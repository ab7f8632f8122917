#include "tools/vmferry/input_window.hpp"

namespace vmferry::cli {

Result<InputWindow> InputWindow::open(const std::string& path) {
    VMFERRY_ASSIGN(auto file, InputFile::open(path));
    return InputWindow(std::move(file));
}

Result<bool> InputWindow::fill(std::size_t need) {
    while (buffer_.unread().size() < need) {
        VMFERRY_ASSIGN(const auto got, file_.read(buffer_.space(need)));
        if (got == 0) return false;
        buffer_.arrived(got);
    }
    return true;
}

}  // namespace vmferry::cli
