-- Goes back to the version before the present one.
local os = require("os")
local status = obj.status or {}
if status.stable == nil or status.history == nil then
  return obj
end
for _, record in ipairs(status.history) do
  if record.outcome == "Succeeded" and record.version ~= status.stable.version then
    if obj.metadata.annotations == nil then
      obj.metadata.annotations = {}
    end
    local value = tostring(record.version) .. "@" .. os.date("!%Y-%m-%dT%XZ")
    obj.metadata.annotations["modelyard.dev/rollback"] = value
    return obj
  end
end
return obj
