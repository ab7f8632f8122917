// The domain, made by libxl as `xl migrate-receive` has it made.
//
//     expect()    JSON → libxl_domain_config; NAME and NAME--incoming are free
//     create()    room in the host's memory, libxl_domain_create_restore() under the name NAME--incoming;
//     then
//                 somebody who sees its end (watch.hpp), before the source is told that we are ready
//     start()     NAME--incoming → NAME, unpause
//     destroy()
//
// libxl itself stores the configuration with the domain ("libxl-json"), which is all that later commands of
// xl read.
#pragma once

#include <optional>

#include "tools/libxl-receive/libxl_context.hpp"
#include "tools/libxl-receive/receive.hpp"

namespace vmferry::libxl_receive {

struct DomainOptions {
    bool unpause = true;
    bool watch = true;
};

class LibxlDomain final : public DomainMaker {
  public:
    /// `stop`: see Ends.
    LibxlDomain(libxl_ctx* context, const DomainOptions& options, int stop)
        : context_(context), options_(options), stop_(stop) {}

    [[nodiscard]] Result<void> expect(const std::string& config) override;
    [[nodiscard]] Result<void> create(int input) override;
    [[nodiscard]] std::expected<void, StartFailure> start() override;
    [[nodiscard]] Result<void> destroy() override;

  private:
    Result<void> restore(int input);
    /// libxl's code of the operation that was started with `how`; gives it up when we are asked to end.
    int await(const libxl_asyncop_how& how);

    libxl_ctx* context_;
    DomainOptions options_;
    int stop_;
    DomainConfig config_;
    std::string name_, incoming_;
    std::uint32_t id_ = INVALID_DOMID;
};

}  // namespace vmferry::libxl_receive
