-- Posts for wrk: the same life of a print item that workload.py tells to Python.
-- Everything that can be made beforehand is; one post costs about a microsecond, so that
-- the generator never is what a row measures.
--
-- Arguments after "--": apikey, first item number, first slot, lanes, window, signals in a post.
-- Of several lanes each posts every so manieth tick, from that of its first slot on.

local PATH = "/cloudsignal/2.0/status/"
local TYPES = { [0] = "ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked", "ItemShipped" }
local ORDERS = { [0] = 1, 387, 549, 721, 903 } -- see workload.py
local OLDEST_S, STEP_S, SPREAD_S = 1800, 300, 240
local CLOCK_S = 600 -- datetimes are made this far ahead; no run lasts longer

local floor, concat = math.floor, table.concat
local digits, clock = {}, {}
local heads, tails, single_heads = {}, {}, {}
local bundle_head, bundle_size, first_item, lanes, window
local started, now, clock_age = 0, 0, 0

slot = 0 -- global, so that done() can ask the thread how far it came

function setup(thread)
  the_thread = thread
end

-- A three-round Feistel network over 10^6 x 10^6: every number gets its own 12 digits, and
-- neighbours land far apart. All products stay below 2^53, so doubles are exact.
local function order_halves(number)
  local left, right = floor(number / 1000000) % 1000000, number % 1000000
  left = (left + (right * right + 104729) % 999983 * 7919) % 1000000
  right = (right + (left * left + 224737) % 999983 * 6997) % 1000000
  left = (left + (right * right + 350377) % 999983 * 5531) % 1000000
  return left, right
end

local function order_id(number)
  local left, right = order_halves(number)
  return digits[floor(left / 1000)] .. digits[left % 1000]
      .. digits[floor(right / 1000)] .. digits[right % 1000]
end

-- Asking the clock for each post would cost more than the rest of it.
local function tick()
  clock_age = clock_age + 1
  if clock_age >= 256 then
    clock_age, now = 0, os.time() - started
  end
end

-- head is `{"apikey":…,"type":…,"order":"` in a post, the same without the key in a bundle.
local function signal(head, step, item)
  local order = order_id(item)
  local datetime = clock[now + step * STEP_S + item % SPREAD_S]
  if step == 4 then
    return head .. order .. '","item":"' .. order .. '-1","datetime":"' .. datetime
        .. '","tracking":"1Z' .. order .. '","shipping_option":"ups_ground"}'
  end
  return head .. order .. '","item":"' .. order .. '-1","datetime":"' .. datetime .. '"}'
end

local function next_signal(signal_heads)
  local step = slot % 5
  local number = floor(slot / 5) - step * window
  local place = number % window
  local item = first_item + number - place + place * ORDERS[step] % window
  slot = slot + 1
  if slot % 5 == 0 then
    slot = slot + 5 * (lanes - 1)
  end
  tick()
  return step, signal(signal_heads[step], step, item)
end

local function http_head(length)
  return "POST " .. PATH .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
      .. "Content-Length: " .. length .. "\r\n\r\n"
end

local function single()
  local step, body = next_signal(heads)
  return single_heads[step] .. body
end

local function bundle()
  local signals = {}
  for at = 1, bundle_size do
    local _
    _, signals[at] = next_signal(tails)
  end
  local body = bundle_head .. concat(signals, ",") .. "]}"
  return http_head(#body) .. body
end

function init(args)
  local apikey = args[1]
  first_item, slot, lanes = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  window, bundle_size = tonumber(args[5]), tonumber(args[6])
  for number = 0, 999 do
    digits[number] = string.format("%03d", number)
  end
  started = os.time()
  for second = 0, OLDEST_S + CLOCK_S do
    clock[second] = os.date("!%Y-%m-%d %H:%M:%S GMT", started - OLDEST_S + second)
  end
  bundle_head = '{"apikey":"' .. apikey .. '","items":['
  for step = 0, 4 do
    tails[step] = '{"type":"' .. TYPES[step] .. '","order":"'
    heads[step] = '{"apikey":"' .. apikey .. '",' .. tails[step]:sub(2)
    -- Ids and datetimes have a fixed width, so a step's posts all have one length.
    single_heads[step] = http_head(#signal(heads[step], step, first_item))
  end
  request = bundle_size > 1 and bundle or single
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"posts":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"next_slot":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    the_thread:get("slot"), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
