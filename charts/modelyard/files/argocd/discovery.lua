-- Which actions a Modelyard Deployment offers now.
local status = obj.status or {}
local rolling = status.rollout ~= nil
local waits = nil
if rolling and status.rollout.paused ~= nil then
  waits = status.rollout.paused.reason
end

local earlier = false
if status.stable ~= nil and status.history ~= nil then
  for _, record in ipairs(status.history) do
    if record.outcome == "Succeeded" and record.version ~= status.stable.version then
      earlier = true
    end
  end
end

local function offer(name, icon, enabled)
  return {["displayName"] = name, ["iconClass"] = "fa fa-fw fa-" .. icon, ["disabled"] = not enabled}
end

local held = waits == "Requested" or waits == "Spec"
local actions = {}
actions["promote"] = offer("Promote", "step-forward", rolling and waits ~= "Spec")
actions["promote-full"] = offer("Promote to all servers", "fast-forward", rolling and waits ~= "Spec")
actions["pause"] = offer("Pause", "pause", rolling and not held)
actions["resume"] = offer("Resume", "play", waits == "Requested" or waits == "Inconclusive")
actions["abort"] = offer("Abort", "stop", rolling)
actions["retry"] = offer("Retry", "redo", status.rejected ~= nil)
actions["rollback"] = offer("Roll back", "undo", earlier and not rolling)
return actions
