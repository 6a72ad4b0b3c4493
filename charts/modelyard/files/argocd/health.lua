-- Health of any Modelyard object, from its phase and conditions. Argo CD runs this without the
-- string library.
local status = obj.status
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "is being deleted"}
end
if status == nil or status.phase == nil then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen the latest change yet"}
end

local conditions = {}
if status.conditions ~= nil then
  for _, condition in ipairs(status.conditions) do
    conditions[condition.type] = condition.status
  end
end

local health = {status = "Progressing", message = status.message or status.phase}
if status.phase == "Degraded" then
  health.status = "Degraded"
elseif conditions["Ready"] == "True" then
  health.status = "Healthy"
elseif status.phase == "Paused" or status.phase == "Suspended" then
  health.status = "Suspended"
elseif conditions["Stalled"] == "True" then
  health.status = "Degraded"
end
return health
