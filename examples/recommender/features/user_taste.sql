select user_id, happened_at,
  count(*) filter (where genre = 'comedy') over last_week as n_comedy,
  count(*) filter (where genre = 'crime') over last_week as n_crime,
  count(*) filter (where genre = 'drama') over last_week as n_drama,
  count(*) filter (where genre = 'history') over last_week as n_history,
  count(*) filter (where genre = 'science') over last_week as n_science,
  count(*) filter (where genre = 'travel') over last_week as n_travel
from events
window last_week as (partition by user_id order by happened_at range between interval 7 days preceding and current row)
