// libxl's context and a domain's configuration, each with an owner; its error codes as errors.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

// Xen's headers do not say themselves that they are C.
extern "C" {
#include <libxl.h>
#include <libxl_event.h>
#include <libxl_utils.h>
#include <xentoollog.h>
}

#include "parsers/wire/error.hpp"

namespace vmferry::libxl_receive {

/// What libxl has to say beyond the code stands on stderr before it.
[[nodiscard]] inline Error code_error(std::string doing, int code) {
    const char* name = libxl_error_to_string(static_cast<libxl_error>(code));
    return environment_error("libxl", std::move(doing),
                             fmt::format("{} (error {})", name ? name : "unknown", code))
        .error();
}

struct LoggerEnd {
    void operator()(xentoollog_logger_stdiostream* logger) const {
        xtl_logger_destroy(reinterpret_cast<xentoollog_logger*>(logger));
    }
};

/// Its messages go to stderr.
class Context {
  public:
    [[nodiscard]] static Result<Context> create(xentoollog_level level, unsigned flags = 0) {
        Context self;
        self.logger_.reset(
            xtl_createlogger_stdiostream(stderr, level, XTL_STDIOSTREAM_HIDE_PROGRESS | flags));
        if (!self.logger_) return environment_error("libxl", "starting", "no memory for its log");
        const int rc = libxl_ctx_alloc(&self.context_, LIBXL_VERSION, 0,
                                       reinterpret_cast<xentoollog_logger*>(self.logger_.get()));
        if (rc != 0) {
            auto error = code_error("starting", rc);
            error.hint = "is this a Xen host's dom0, with xenstored running, and are we root?";
            return std::unexpected(std::move(error));
        }
        return self;
    }
    ~Context() {
        if (context_ != nullptr) libxl_ctx_free(context_);
    }
    Context(Context&& other) noexcept
        : logger_(std::move(other.logger_)), context_(std::exchange(other.context_, nullptr)) {}
    Context& operator=(Context&&) = delete;
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    // NOLINTNEXTLINE(google-explicit-constructor): it stands wherever libxl takes its context.
    operator libxl_ctx*() const { return context_; }

  private:
    Context() = default;
    std::unique_ptr<xentoollog_logger_stdiostream, LoggerEnd> logger_;
    libxl_ctx* context_ = nullptr;
};

class DomainConfig {
  public:
    DomainConfig() { libxl_domain_config_init(&config_); }
    ~DomainConfig() { libxl_domain_config_dispose(&config_); }
    DomainConfig(const DomainConfig&) = delete;
    DomainConfig& operator=(const DomainConfig&) = delete;
    void swap(DomainConfig& other) noexcept { std::swap(config_, other.config_); }

    [[nodiscard]] libxl_domain_config* get() { return &config_; }
    libxl_domain_config* operator->() { return &config_; }
    [[nodiscard]] std::string name() const {
        return config_.c_info.name == nullptr ? "" : config_.c_info.name;
    }
    void set_name(const std::string& name) {
        std::free(config_.c_info.name);
        config_.c_info.name = strdup(name.c_str());
    }

  private:
    libxl_domain_config config_{};
};

}  // namespace vmferry::libxl_receive
