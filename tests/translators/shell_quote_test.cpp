#include "translators/shell_quote.hpp"

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace vmferry;

TEST_CASE("shell quoting: plain words stay as they are") {
    const std::vector<std::string> words{"qemu", "-M", "pc-i440fx-7.2,hpet=off", "file:/a_b"};
    CHECK(shell_quote(words) == "qemu -M pc-i440fx-7.2,hpet=off file:/a_b");
    CHECK(shell_quote(std::vector<std::string>{""}) == "''");
    CHECK(shell_quote(std::vector<std::string>{"a'b c"}) == "'a'\\''b c'");
}

TEST_CASE("shell quoting: a shell gets back the same words") {
    const std::vector<std::string> words{"",     " ",  "a b", "'",   "\"",      "$(false)", "`x`", "\\",
                                         "a\nb", "*?", "~",   "#x",  "a;b&c|d", "{a,b}",    "!x",  "<>",
                                         "\t",   "%s", "-n",  "[a]", "é",       "a''b"};
    const auto command = "printf '%s\\001' " + shell_quote(words);
    auto* pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string output;
    std::array<char, 512> chunk{};
    for (std::size_t n = 0; (n = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;)
        output.append(chunk.data(), n);
    CHECK(pclose(pipe) == 0);
    std::string expected;
    for (const auto& word : words) expected += word + '\001';
    CHECK(output == expected);
}
