-- Goes on with a rollout that was paused.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/resume"] = "resume@" .. os.date("!%Y-%m-%dT%XZ")
return obj
