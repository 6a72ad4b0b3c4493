-- Skips all pauses, analyses and steps that are left.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/promote"] = "full@" .. os.date("!%Y-%m-%dT%XZ")
return obj
