-- Holds the rollout where it is.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/pause"] = "pause@" .. os.date("!%Y-%m-%dT%XZ")
return obj
