select card_id, happened_at,
  count(*) over last_hour as n_1h,
  sum(amount) over last_hour as sum_1h,
  count(*) over last_day as n_24h,
  sum(amount) over last_day as sum_24h,
  amount / avg(amount) over last_week as ratio_7d
from tx
window
  last_hour as (partition by card_id order by happened_at range between interval 1 hour preceding and current row),
  last_day as (partition by card_id order by happened_at range between interval 24 hours preceding and current row),
  last_week as (partition by card_id order by happened_at range between interval 7 days preceding and current row)
