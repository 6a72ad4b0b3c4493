-- Takes all servers back to the version that served before.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/abort"] = "abort@" .. os.date("!%Y-%m-%dT%XZ")
return obj
