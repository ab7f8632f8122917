#include "tools/vmferry/progress.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace vmferry::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto terminal_interval = 100ms;
constexpr auto plain_interval = 5s;

std::string duration_text(double seconds) {
    const auto whole = std::llround(seconds);
    return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                         : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::size_t terminal_columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units.at(unit));
}

Progress::Progress(std::string label, bool shown)
    : label_(std::move(label)),
      shown_(shown),
      terminal_(shown && ::isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
    finish();
}

void Progress::update(const Values& values) {
    values_ = values;
    if (!shown_) return;
    const auto now = Clock::now();
    const auto interval = terminal_ ? Clock::duration(terminal_interval) : Clock::duration(plain_interval);
    if (now - last_ < interval) return;
    draw(values, now);
}

void Progress::draw(const Values& values, Clock::time_point now) {
    last_ = now;
    drawn_ = true;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(values.bytes) / seconds : 0;
    std::string numbers =
        fmt::format("{}, {}/s", size_text(values.bytes), size_text(static_cast<std::uint64_t>(rate)));
    if (values.passes > 0) numbers += fmt::format(", pass {}", values.passes);
    double share = 0;
    if (values.total > 0) {
        share = std::min(1.0, static_cast<double>(values.done) / static_cast<double>(values.total));
        if (share > 0 && share < 1)
            numbers += fmt::format(", {} left", duration_text(seconds * (1 - share) / share));
    }
    if (!terminal_) {
        fmt::print(stderr, "{}: {}{}\n", label_,
                   values.total > 0 ? fmt::format("{:.0f} %, ", share * 100) : "", numbers);
        return;
    }
    const auto columns = terminal_columns();
    std::string line = label_ + " ";
    const auto used = line.size() + numbers.size() + 10;
    if (values.total > 0 && columns > used + 10) {
        const auto width = std::min<std::size_t>(columns - used, 40);
        const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
        line += "[" + std::string(full, '#') + std::string(width - full, '.') +
                fmt::format("] {:3.0f} % ", share * 100);
    }
    line += numbers;
    if (columns > 1 && line.size() >= columns) line.resize(columns - 1);
    fmt::print(stderr, "\r{}\x1b[K", line);
    std::fflush(stderr);
}

void Progress::finish() {
    if (std::exchange(finished_, true) || !shown_ || !drawn_) return;
    if (terminal_)
        fmt::print(stderr, "\r\x1b[K");
    else
        draw(values_, Clock::now());
}

}  // namespace vmferry::cli
