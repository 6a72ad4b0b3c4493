-- Ends the pause and the analysis of the step that the rollout is at.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/promote"] = "step@" .. os.date("!%Y-%m-%dT%XZ")
return obj
