-- Tries the version again that was rolled back.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/retry"] = "retry@" .. os.date("!%Y-%m-%dT%XZ")
return obj
